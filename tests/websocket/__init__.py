"""Tests of edgeserver.websocket."""
