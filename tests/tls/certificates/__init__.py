"""Tests of edgeserver.tls.certificates."""
