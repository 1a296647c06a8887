"""Transports: what stands between a socket and HTTP."""
