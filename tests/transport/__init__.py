"""Tests of edgeserver.transport."""
