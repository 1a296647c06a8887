"""Tests of edgeserver.audit."""
