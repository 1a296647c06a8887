"""Logs: the access log, and how a record looks."""
