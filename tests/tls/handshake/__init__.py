"""Tests of edgeserver.tls.handshake."""
