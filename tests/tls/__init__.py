"""Tests of edgeserver.tls."""
