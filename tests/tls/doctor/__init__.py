"""Tests of edgeserver.tls.doctor."""
