"""Tests of edgeserver.config."""
