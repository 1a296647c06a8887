"""The certificates of a run: an authority and a server's pair, ECDSA on P-256, into a directory."""

from __future__ import annotations

import sys
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

home = Path(sys.argv[1])
authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
pair = authority.issue_cert("www.example.com", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
authority.cert_pem.write_to_path(str(home / "ca.pem"))
(home / "server.pem").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
key = serialization.load_pem_private_key(pair.private_key_pem.bytes(), password=None)
# PKCS 8: some of the servers read no other form.
(home / "server.key").write_bytes(
    key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
