"""Tests of edgeserver.server."""
