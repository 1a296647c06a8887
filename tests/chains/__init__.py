"""Tests of `edgeserver.chains`."""
