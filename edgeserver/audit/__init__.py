"""The audit log: the proof of each request's client, where it is written and read."""
