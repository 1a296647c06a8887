"""Tests of edgeserver.support."""
