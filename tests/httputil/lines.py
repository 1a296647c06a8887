"""Field lines for tests, as a parser gives them."""

from edgeserver.httputil.headers import RawHeaders

RAW: RawHeaders = [
    (b"host", b"a.example"),
    (b"x-one", b"1"),
    (b"set-cookie", b"a=b"),
    (b"x-latin", b"caf\xe9"),
    (b"set-cookie", b"c=d"),
]
PLAIN: RawHeaders = [(b"host", b"a.example"), (b"x-latin", b"caf\xe9"), (b"empty", b"")]
