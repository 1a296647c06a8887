"""Tests of edgeserver.proxyheaders.proxyprotocol."""
