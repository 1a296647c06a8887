"""Tests of edgeserver.http."""
