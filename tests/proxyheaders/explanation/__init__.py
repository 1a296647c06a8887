"""Tests of edgeserver.proxyheaders.explanation."""
