"""Certificates, keys and revocation lists: read, ordered and checked."""
