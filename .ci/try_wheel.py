"""Serve the demonstration from an installed wheel, and ask it: run away from the source."""

import urllib.request
from pathlib import Path

import edgeserver
from edgeserver.demo import app
from edgeserver.testing import serve

assert "site-packages" in Path(edgeserver.__file__).parts, edgeserver.__file__
with serve(app, tls=False) as served, urllib.request.urlopen(served.url) as answer:
    assert b"127.0.0.1" in answer.read()
print("the wheel serves")
