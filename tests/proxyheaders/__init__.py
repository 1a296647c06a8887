"""Tests of `edgeserver.proxyheaders`."""
