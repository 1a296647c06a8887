"""Markup of the page: elements, and the one escape that every text passes.

Decides what of a text is shown, and that nothing but elements made here is markup. It must not know
what a page says.
"""

from __future__ import annotations

import html
from typing import Final

__all__ = ["MOST_SHOWN", "Markup", "element", "joined"]

MOST_SHOWN: Final = 2000
"""How many characters of one text are shown."""

_VOID: Final = frozenset(("br", "circle", "line", "meta", "path", "polygon", "rect"))


class Markup(str):
    """Text that is markup already; `element`, `joined` and constants of this room make it."""

    __slots__ = ()


def _text(value: object) -> str:
    """Return a text as markup shows it: cut, without control characters, escaped."""
    shown = str(value)
    if len(shown) > MOST_SHOWN:
        shown = f"{shown[:MOST_SHOWN]} ...(+{len(shown) - MOST_SHOWN} characters)"
    # what changes the direction of text is not printable either
    plain = "".join(each if each.isprintable() else "\ufffd" for each in shown)
    return html.escape(plain)


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return one element.

    Args:
        tag: Its name; a constant.
        children: What it holds; whatever is no `Markup` is escaped.
        attributes: Its attributes, escaped; `class_` is `class`, `_` is `-`, and what is None is
            left out, what is True has no value.
    """
    parts = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        parts.append(f" {spelled}" if value is True else f' {spelled}="{_text(value)}"')
    head = f"<{tag}{''.join(parts)}"
    if tag in _VOID and not children:
        return Markup(f"{head}/>")
    return Markup(f"{head}>{joined(*children)}</{tag}>")


def joined(*children: object) -> Markup:
    """Return what some children are together; whatever is no `Markup` is escaped."""
    return Markup(
        "".join(str(each) if isinstance(each, Markup) else _text(each) for each in children)
    )
