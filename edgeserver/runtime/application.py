"""The application of a plan, and the delegate that its kind of application is behind.

Decides what an adapter is given. It must not know how an application is found nor how it is served.
"""

from __future__ import annotations

from typing import Any

from edgeserver.adapters.detect import detect_interface, make_delegate
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.loading import load_application
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape

__all__ = ["prepare_application"]


def prepare_application(plan: ServePlan) -> tuple[str, Any]:
    """Import the application of a plan, unless it is there, and return its kind and its delegate.

    Raises:
        ConfigurationError: It is not there, of no kind that is known, or does not take an option.
        StartError: Its own code raised.
    """
    app = plan.app
    if app is None:
        app = load_application(plan.target, app_dir=plan.app_dir, factory=plan.factory)
    try:
        kind = detect_interface(app) if plan.interface == "auto" else plan.interface
        options = _adapter_options(plan, kind)
        return kind, make_delegate(kind, app, options, spelled=plan.spell_option)
    except ConfigurationError as error:
        raise ConfigurationError(f"{escape(plan.target)}: {error}") from error


def _adapter_options(plan: ServePlan, kind: str) -> dict[str, Any]:
    """Return what the adapter is given: what flags say, and what only this process knows."""
    if kind == "wsgi":
        return plan.adapter_options | {"multiprocess": plan.workers > 1}
    return plan.adapter_options
