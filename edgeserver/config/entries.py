"""Entries of settings that have a grammar of their own: addresses, proxies, hosts.

Decides what is said of a single text that is none, without the name of its setting, so that all of
them can be told at once. It opens no file.
"""

from __future__ import annotations

from edgeserver.config.bind import parse_bind
from edgeserver.config.model import Setting
from edgeserver.config.rate import parse_rate
from edgeserver.config.trust import build_policy, split_list
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["refuse_entry"]

_MAY_BE_EMPTY = ("root-path",)


def refuse_entry(setting: Setting, text: str) -> str:
    """Return what is wrong with one text of a setting, and the fix; empty where nothing is."""
    if not text.strip() and setting.name not in _MAY_BE_EMPTY:
        return "it is empty; give it a value, or leave it out"
    if "\0" in text:
        return "it holds a NUL; leave that out"
    if setting.kind == "rate":
        return _complaint_of_rate(text)
    match setting.name:
        case "bind":
            return _complaint_of_bind(text)
        case "trust" | "trusted-downstream":
            return _complaint_of_proxies(setting, text)
        case "tls-host":
            name, _, files = text.partition("=")
            if not name or not all(files.rpartition(":")[::2]):
                return "write NAME=CERT:KEY, such as www.example.com=www.pem:www.key"
    return ""


def _complaint_of_bind(text: str) -> str:
    try:
        parse_bind(text)
    except ConfigurationError as error:
        return str(error).removeprefix(f"--bind {escape(text)}: ")
    return ""


def _complaint_of_rate(text: str) -> str:
    try:
        parse_rate("", text)
    except ConfigurationError as error:
        return str(error).removeprefix(f" {escape(text)} ")
    return ""


def _complaint_of_proxies(setting: Setting, text: str) -> str:
    """Return what is wrong with the first wrong address or range of a list."""
    entries = split_list([text])
    if not entries:
        return "it names no proxy; give an address or a range, or leave it out"
    for entry in entries:
        try:
            build_policy({"trust": (entry,)})
        except ConfigurationError as error:
            said = str(error).removeprefix("--trust: ")
            about = f"trusted proxy {entry!r}"
            if said.startswith(about):
                said = said.removeprefix(about).removeprefix(":").strip()
                return said if len(entries) == 1 else f"{escape(entry, 60)}: {said}"
            return said
    return ""
