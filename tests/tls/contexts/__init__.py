"""Tests of edgeserver.tls.contexts."""
