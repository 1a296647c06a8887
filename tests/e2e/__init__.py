"""Tests over real sockets, real processes and real proxies."""
