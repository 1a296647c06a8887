"""AWS load balancers: the attributes of an ALB, or of an NLB's target group.

Decides what each attribute does to a head, and what holds where one is missing. Reads what
`aws elbv2 describe-load-balancer-attributes` and `describe-target-group-attributes` print.
"""

from __future__ import annotations

import json
from typing import Any

from edgeserver.chains.model import (
    CLIENT,
    SCHEME,
    AppendToField,
    DropField,
    Join,
    ProxyHop,
    SetField,
    Step,
    Text,
    Unknown,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, refuse

__all__ = ["read_aws"]

_XFF = "x-forwarded-for"


def read_aws(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read attributes as JSON.

    Raises:
        ReadingError: It is no JSON, or holds no attributes.
        UnreadableFile: The file cannot be read.
    """
    text = sources.read(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        refuse(Where(path, error.lineno), f"this is no JSON: {error.msg}")
    except RecursionError:
        refuse(Where(path), "this is nested too deep")
    attributes: dict[str, str] = {}
    _collect(data, attributes, 0)
    group = data.get("TargetGroup") if isinstance(data, dict) else None
    if isinstance(data, dict) and group is None and isinstance(data.get("TargetGroups"), list):
        group = next((each for each in data["TargetGroups"] if isinstance(each, dict)), None)
    reader = _Attributes(path, text, attributes, group if isinstance(group, dict) else {})
    if group is not None or any(
        key.startswith(("proxy_protocol", "preserve_")) for key in attributes
    ):
        return ProxyHop("nlb", "", path, tuple(reader.network()))
    if not attributes:
        refuse(Where(path), "no attributes: print them with describe-load-balancer-attributes")
    return ProxyHop("alb", "", path, tuple(reader.application()))


def _collect(data: Any, attributes: dict[str, str], depth: int) -> None:
    """Collect every Key and Value, wherever they stand."""
    if depth > 20:
        return
    if isinstance(data, dict):
        key, value = data.get("Key"), data.get("Value")
        if isinstance(key, str) and isinstance(value, str):
            attributes[key] = value.strip().lower()
        for each in data.values():
            _collect(each, attributes, depth + 1)
    elif isinstance(data, list):
        for each in data:
            _collect(each, attributes, depth + 1)


class _Attributes:
    """The attributes of one load balancer."""

    def __init__(
        self, path: str, text: str, attributes: dict[str, str], group: dict[str, Any]
    ) -> None:
        self._path = path
        self._text = text
        self._attributes = attributes
        self._group = group

    def _where(self, key: str) -> Where:
        at = self._text.find(f'"{key}"')
        return Where(self._path, self._text.count("\n", 0, at) + 1 if at >= 0 else 0)

    def application(self) -> list[Way]:
        """Return the ways through an ALB: plain and TLS, as its listeners are not among these."""
        key = "routing.http.xff_header_processing.mode"
        mode = self._attributes.get(key, "append")
        where = self._where(key)
        client = CLIENT
        if self._attributes.get("routing.http.xff_client_port.enabled") == "true":
            client = Join((CLIENT, Text(":40000")))  # type: ignore[assignment]
        steps: list[Step] = [Step(DropField("connection"), Where(self._path))]
        if mode == "append":
            steps.append(Step(AppendToField(_XFF, client), where))
        elif mode == "remove":
            steps.append(Step(DropField(_XFF), where))
        elif mode != "preserve":
            steps.append(Step(Unknown(f"{key} {mode}", (_XFF,)), where))
        steps.append(Step(SetField("x-forwarded-proto", SCHEME), Where(self._path)))
        return [
            Way("", "", where, listen, tls=tls, steps=tuple(steps), tls_out=None, paste=where)
            for listen, tls in (("80", False), ("443", True))
        ]

    def network(self) -> list[Way]:
        """Return the ways through an NLB, which passes bytes on."""
        protocol = str(self._group.get("Protocol", "TCP")).upper()
        kind = str(self._group.get("TargetType", "")).lower()
        prelude = self._attributes.get("proxy_protocol_v2.enabled") == "true"
        preserve = self._attributes.get("preserve_client_ip.enabled")
        where = self._where("preserve_client_ip.enabled")
        steps: tuple[Step, ...] = ()
        if kind == "alb":
            preserve = "true"
        if preserve is None and kind not in ("instance", "ip"):
            steps = (
                Step(Unknown("preserve_client_ip.enabled, which depends on TargetType"), where),
            )
        # instances see the client by default, addresses do not
        transparent = preserve == "true" or (preserve is None and kind == "instance")
        if protocol not in ("TCP", "TLS", "TCP_UDP", "UDP"):
            steps = (*steps, Step(Unknown(f"Protocol {protocol}"), where))
        return [
            Way(
                "",
                "",
                where,
                tls=protocol == "TLS",
                steps=steps,
                sends_prelude=prelude,
                tls_out=None if protocol == "TLS" else False,
                layer4=True,
                transparent=transparent,
                paste=where,
            )
        ]
