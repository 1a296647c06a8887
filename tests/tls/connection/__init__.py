"""Tests of edgeserver.tls.connection."""
