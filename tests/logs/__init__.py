"""Tests of edgeserver.logs."""
