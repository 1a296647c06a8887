"""A proxy whose configuration nobody can read, described in words: a CDN, a cloud's balancer.

Decides which words there are. `outer:append,sets=cf-connecting-ip,drops=x-real-ip@198.51.100.7`.
"""

from __future__ import annotations

from edgeserver.chains.model import (
    CLIENT,
    AppendToField,
    DropField,
    ProxyHop,
    SetField,
    Step,
    Text,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, lower_name, refuse
from edgeserver.support.escape import escape

__all__ = ["read_outer"]

_XFF, _PROTO = "x-forwarded-for", "x-forwarded-proto"


def read_outer(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read the words that describe a proxy.

    Args:
        path: Words with commas: `append`, `overwrite`, `pass` or `drop` (X-Forwarded-For),
            `prelude` (layer 4 with a PROXY prelude), `http` or `https` (default), `keeps-proto`,
            and `sets=FIELD` and `drops=FIELD`.
        sources: Not needed.
        version: Not needed.

    Raises:
        ReadingError: A word is none of these.
    """
    where = Where(f"outer:{path}")
    steps: list[Step] = []
    tls, prelude = True, False
    proto = True
    for word in filter(None, path.split(",")):
        key, _, name = word.partition("=")
        field = lower_name(name) if name else None
        if word == "append":
            steps.append(Step(AppendToField(_XFF, CLIENT), where))
        elif word == "overwrite":
            steps.append(Step(SetField(_XFF, CLIENT), where))
        elif word == "drop":
            steps.append(Step(DropField(_XFF), where))
        elif word in ("http", "https"):
            tls = word == "https"
        elif word == "prelude":
            prelude = True
        elif word == "keeps-proto":
            proto = False
        elif key == "sets" and field:
            steps.append(Step(SetField(field, CLIENT), where))
        elif key == "drops" and field:
            steps.append(Step(DropField(field), where))
        elif word != "pass":
            refuse(
                where,
                f"{escape(word, 40)!r} is no word for a proxy; write append, overwrite, pass or"
                " drop for X-Forwarded-For, prelude, http or https, keeps-proto, sets=FIELD,"
                " drops=FIELD",
            )
    steps.append(Step(DropField("connection"), where))
    if prelude:
        way = Way("", "", where, sends_prelude=True, layer4=True, tls_out=None, paste=where)
    else:
        if proto:
            steps.append(Step(SetField(_PROTO, Text("https" if tls else "http")), where))
        way = Way("", "", where, tls=tls, steps=tuple(steps), tls_out=None, paste=where)
    return ProxyHop("outer", "", f"outer:{path}", (way,))
