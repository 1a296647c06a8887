"""Tests of edgeserver.runtime."""
