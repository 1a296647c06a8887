"""Tests of edgeserver.tls.settings."""
