"""The JA4 text of a ClientHello: which kind of client software this probably is.

Decides only how the fingerprint is written. It must know nothing of what it is used for; anyone
can imitate one, so it identifies software that does not hide, and never a person.

Source: FoxIO's public definition of JA4 (`technical_details/JA4.md` of FoxIO-LLC/ja4).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from edgeserver.tls.clienthello import GREASE, ClientHello

__all__ = ["render_ja4"]

_VERSION_TEXTS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 2: "s2"}
_CACHE: dict[tuple[object, ...], str] = {}
_CACHE_ENTRIES = 512  # a few hundred kinds of client reach one server; a flood must not grow it
_CACHED_PART = 128  # no real client offers more of anything; a longer list is not kept


def render_ja4(hello: ClientHello) -> str:
    """Return the JA4 of a hello that came over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.

    The text is cached by everything it is made of, because one kind of client says the same
    thing each time (but for the order of its extensions, which JA4 sorts away).
    """
    key = (
        hello.versions,
        hello.cipher_suites,
        frozenset(hello.extensions),
        hello.signature_algorithms,
        hello.alpn[:1],
    )
    text = _CACHE.get(key)
    if text is None:
        text = _render(hello)
        parts = (hello.cipher_suites, hello.extensions, hello.signature_algorithms, hello.versions)
        if max(map(len, parts)) <= _CACHED_PART:
            if len(_CACHE) >= _CACHE_ENTRIES:
                _CACHE.clear()
            _CACHE[key] = text
    return text


def _render(hello: ClientHello) -> str:
    suites = [suite for suite in hello.cipher_suites if suite not in GREASE]
    extensions = [kind for kind in hello.extensions if kind not in GREASE]
    version = _VERSION_TEXTS.get(max(hello.versions, default=0), "00")
    named = "d" if 0 in extensions else "i"
    counts = f"{min(len(suites), 99):02d}{min(len(extensions), 99):02d}"
    # "removed" as the definition has it: server_name and ALPN are in the first part already
    hashed = _join(sorted(kind for kind in extensions if kind not in (0, 16)))
    if hashed and (schemes := _join(s for s in hello.signature_algorithms if s not in GREASE)):
        hashed = f"{hashed}_{schemes}"
    return (
        f"t{version}{named}{counts}{_render_alpn(hello.alpn)}"
        f"_{_digest(_join(sorted(suites)))}_{_digest(hashed)}"
    )


def _join(values: Iterable[int]) -> str:
    return ",".join([f"{value:04x}" for value in values])


def _digest(text: str) -> str:
    """Return the first twelve digits of the hash, or zeros where there is nothing to hash."""
    return sha256(text.encode()).hexdigest()[:12] if text else "000000000000"


def _render_alpn(alpn: tuple[str, ...]) -> str:
    if not alpn or not alpn[0]:
        return "00"
    first = alpn[0].encode("latin-1")
    ends = first[:1] + first[-1:]
    if not ends.isalnum():  # bytes.isalnum is ASCII only, as the definition asks
        shown = first.hex()
        return shown[0] + shown[-1]
    return ends.decode("ascii")
