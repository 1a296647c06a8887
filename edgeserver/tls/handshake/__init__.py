"""The handshake: hello, limits, failures and their reasons."""
