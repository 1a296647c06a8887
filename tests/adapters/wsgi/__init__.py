"""Tests of `edgeserver.adapters.wsgi`."""
