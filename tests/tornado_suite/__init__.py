"""Tornado's own test suite, run over edgeserver's `HTTPServer`; see README.md."""
