"""The explanation of one request: hops, findings, and how they are written."""
