"""Every finding of an audit of configurations: its severity, what it means, and what to do.

Decides the words, in one table that the documentation repeats. A code, once published, never
changes its meaning.
"""

from __future__ import annotations

from edgeserver.proxyheaders.explanation.codes import Code

__all__ = ["CODES"]

CODES: dict[str, Code] = {
    "client-spoofable": Code(
        "error",
        "A stranger chooses whom the app takes for the client.",
        "have the outermost proxy set the field itself, and every other one append its peer",
    ),
    "scheme-spoofable": Code(
        "error",
        "A stranger chooses whether the app believes http or https.",
        "have the proxy that ends TLS set the scheme header on every way",
    ),
    "scheme-always-wrong": Code(
        "error",
        "The app takes plain requests for https.",
        "set the scheme header from the connection, not to a constant",
    ),
    "proxy-not-listed": Code(
        "error",
        "The app does not list a proxy of the chain, so that proxy is everybody's client.",
        "add its address to --trust",
    ),
    "client-lost": Code(
        "warning",
        "The app never learns who the client is.",
        "have the proxy append its peer to the field that the app reads",
    ),
    "client-names-proxy": Code(
        "warning",
        "The app takes a proxy of the chain for the client.",
        "have the inner proxy append to the list in place of replacing it",
    ),
    "client-hidden": Code(
        "warning",
        "A stranger can hide who he is, though he cannot choose who he seems to be.",
        "have the proxy replace what it cannot read",
    ),
    "scheme-lost": Code(
        "warning",
        "The app takes https requests for http.",
        "have the inner proxy keep the scheme header of the outer one",
    ),
    "nothing-gets-through": Code(
        "warning",
        "No request gets through this way: TLS, or the PROXY protocol, does not fit together.",
        "compare what the outer proxy sends with what the inner one's listener reads",
    ),
    "everyone-believed": Code(
        "warning",
        "A proxy believes the forwarding fields of every address.",
        "list the addresses of the proxies in front of it, and no others",
    ),
    "chain-differs": Code(
        "warning",
        "The chain that runs does something else than its configurations say, as a probe saw it.",
        "look whether these files are what runs, and whether another proxy stands in front",
    ),
    "cannot-tell": Code(
        "info",
        "Something that is not understood decides; nothing is proved.",
        "read the line that is named, or describe the proxy in words (outer:...)",
    ),
    "note": Code("info", "Something that the verdicts rest on.", "make sure that it is so"),
}
"""Permanent codes; their order is the order of the documentation."""
