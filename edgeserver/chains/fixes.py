"""The lines that mend a configuration, for each product.

Decides what is pasted, not where. A product without a line here gets words.
"""

from __future__ import annotations

from edgeserver.chains.names import display_name

__all__ = ["fix_line", "keep_out_line"]

_XFF, _PROTO = "x-forwarded-for", "x-forwarded-proto"

# (product, field): the line at the outermost proxy, and at one behind it
_LINES: dict[tuple[str, str], tuple[str, str]] = {
    ("nginx", _XFF): (
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    ),
    ("nginx", _PROTO): (
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "",
    ),
    ("nginx", "forwarded"): (
        'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme";',
        'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme";',
    ),
    ("nginx", ""): ("proxy_set_header {name} $remote_addr;",) * 2,
    ("haproxy", _XFF): ("http-request set-header X-Forwarded-For %[src]", "option forwardfor"),
    ("haproxy", _PROTO): (
        "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
        "",
    ),
    ("haproxy", ""): ("http-request set-header {name} %[src]",) * 2,
    ("caddy", _XFF): (
        "header_up X-Forwarded-For {remote_host}",
        "trusted_proxies static OUTER_ADDRESS",
    ),
    ("caddy", _PROTO): (
        "header_up X-Forwarded-Proto {scheme}",
        "trusted_proxies static OUTER_ADDRESS",
    ),
    ("caddy", ""): ("header_up {name} {{remote_host}}",) * 2,
    ("httpd", _XFF): ("ProxyAddHeaders On", "ProxyAddHeaders On"),
    ("httpd", _PROTO): ("RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}", ""),
    ("httpd", ""): ("RequestHeader set {name} expr=%{{REMOTE_ADDR}}",) * 2,
    ("ingress-nginx", _XFF): (
        'use-forwarded-headers: "false"',
        'use-forwarded-headers: "true", with proxy-real-ip-cidr: OUTER_ADDRESS',
    ),
    ("ingress-nginx", _PROTO): (
        'use-forwarded-headers: "false"',
        'use-forwarded-headers: "true", with proxy-real-ip-cidr: OUTER_ADDRESS',
    ),
    ("alb", _XFF): ("routing.http.xff_header_processing.mode = append",) * 2,
    ("nlb", _XFF): ("proxy_protocol_v2.enabled = true",) * 2,
    ("nlb", _PROTO): ("proxy_protocol_v2.enabled = true",) * 2,
    ("varnish", _PROTO): ('set req.http.X-Forwarded-Proto = "http";', ""),
    ("varnish", _XFF): ("set req.http.X-Forwarded-For = client.ip;", ""),
    ("varnish", ""): ("set req.http.{name} = client.ip;",) * 2,
}


def fix_line(kind: str, name: str, code: str, *, outermost: bool) -> str | None:
    """Return the line that mends a field, or None where words have to do.

    Args:
        kind: The product.
        name: The lower-case field.
        code: The finding.
        outermost: Whether the proxy is the first of its chain.
    """
    if code in ("client-lost", "client-hidden") and name == "":
        return None
    lines = _LINES.get((kind, name))
    if lines is not None:
        return lines[0 if outermost else 1] or None
    lines = _LINES.get((kind, ""))
    if lines is None or name in (_PROTO, "forwarded", ""):
        return None
    return lines[0 if outermost else 1].format(name=display_name(name))


def keep_out_line(kind: str, address: str) -> str | None:
    """Return the line that lets one peer alone connect, or None where words have to do."""
    return {
        "nginx": f"allow {address}; deny all;",
        "haproxy": f"http-request deny unless {{ src {address} }}",
    }.get(kind)
