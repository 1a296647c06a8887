"""Chains of proxies as values: what each does to forwarding fields, and what follows for the app.

This room is pure: the text of configurations in, models, verdicts and counterexamples out. It must
not know files, sockets, time or terminals; who the client of a request is, `proxyheaders` decides.
"""
