"""The reload of a running server: what changes in place, checked as a whole before any of it does.

Decides what a signal can put in force, and in which order. It must not know signals, nor how many
processes there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeserver.config.effective import changes
from edgeserver.config.model import Applies, setting, settings_of
from edgeserver.config.origins import Problem, WrongConfiguration
from edgeserver.logs.writer import check_log
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.examine import examine
from edgeserver.runtime.plan import PlannedListener, ServePlan, TLSRequest
from edgeserver.runtime.prepare import load_contexts, open_audit_log, policy_of, respelled

if TYPE_CHECKING:
    from edgeserver.audit.log import AuditLog
    from edgeserver.httpserver import HTTPServer
    from edgeserver.tcpserver import Listener as ServedListener

__all__ = ["adopt", "put_in_force", "reread"]

_ADVICE = {
    "roll": "SIGUSR2 puts it in force, with new workers",
    "restart": "only a new start puts it in force",
}


def reread(
    plan: ServePlan, content: bytes | None, by: Applies, *, examines: bool = True
) -> ServePlan:
    """Return the plan that is to be in force from now on, wholly checked.

    Args:
        plan: The plan in force.
        content: The configuration file as it is now, None where there is none.
        by: What puts it in force.
        examines: Whether to look at all files that it names, too.

    Raises:
        ConfigurationError: Something is wrong, or cannot be put in force in this way; all of it is
            said, and nothing has changed.
    """
    if plan.configuration is None:
        return plan
    new = plan.configuration.plan(content)
    refused = _refuse_changes(plan, new, by)
    errors = [each for each in examine(new) if each.is_error] if examines else []
    if refused or errors:
        raise WrongConfiguration([*refused, *errors])
    return new


def _refuse_changes(old: ServePlan, new: ServePlan, by: Applies) -> list[Problem]:
    """Return a complaint about each changed setting that cannot be put in force in this way."""
    enough = {"reload": ("reload",), "roll": ("reload", "roll")}.get(by, ())
    refused = []
    for each, said in changes(old.effective, new.effective):
        if each.applies not in enough:
            name = f"[{each.table}] {each.name}" if said is None else said.origin.name
            place = "" if said is None or said.origin.kind != "file" else f"{said.origin.place}: "
            refused.append(Problem(f"{place}{name} has changed, and {_ADVICE[each.applies]}"))
    if by == "reload" and not refused and _kinds(old) != _kinds(new):
        refused.append(
            Problem(
                f"whether listeners speak TLS or have proxies of their own has changed, and "
                f"{_ADVICE['roll']}"
            )
        )
    return refused


def _kinds(plan: ServePlan) -> list[tuple[bool, str, bool, bool]]:
    return [
        (each.is_tls, each.http2, each.tls_request is None, each.trust_values is None)
        for each in plan.listeners
    ]


async def put_in_force(
    server: HTTPServer,
    served: Sequence[Sequence[ServedListener]],
    old: ServePlan,
    new: ServePlan,
) -> None:
    """Put what has changed in force in a server, all of it or nothing.

    Args:
        server: The server.
        served: For each listener of the plans, what the server has of it.
        old: The plan in force.
        new: The plan that is to be.

    Raises:
        ConfigurationError: Something is wrong with a file by now; nothing has changed.
    """
    # Everything is read before anything is changed.
    policy, contexts, own = _build(old, new)
    limits = _limits(new)
    if limits != _limits(old):
        server.set_limits(**limits)
    if policy is not None:
        server.set_trust(policy)
    for listeners, after, (trust, tls) in zip(served, new.listeners, own, strict=True):
        chosen = tls if after.tls_request is not None else contexts
        for listener in listeners:
            if trust is not None:
                server.set_trust(trust, listener=listener)
            if chosen is not None and after.is_tls:
                server.set_tls(chosen[after.http2], listener=listener)


def adopt(old: ServePlan, new: ServePlan) -> None:
    """Have whoever is started with the plan `old` from now on have what `new` says.

    Raises:
        ConfigurationError: Something is wrong with a file by now; nothing has changed.
    """
    policy, contexts, own = _build(old, new)
    audit, ended = _open_logs(old, new), old.server_options.get("audit_log")
    if ended is not None and ended is not audit:
        ended.close()
    old.take_over(new)
    old.server_options["audit_log"] = audit
    if policy is not None:
        old.server_options["trust"] = policy
    if contexts is not None:
        old.tls = contexts
    for listener, (trust, tls) in zip(old.listeners, own, strict=True):
        if trust is not None:
            listener.trust = trust
        if tls is not None:
            listener.tls = tls


def _open_logs(old: ServePlan, new: ServePlan) -> AuditLog | None:
    """Return the audit log that is to be, opened where it is another; try the access log.

    Raises:
        ConfigurationError: A file cannot be opened.
    """
    if new.access is not None and new.access != old.access and new.access.target != "-":
        check_log(setting("access-log").flag, new.access.target)
    if new.audit == old.audit:
        log: AuditLog | None = old.server_options.get("audit_log")
        return log
    return None if new.audit is None else open_audit_log(new.audit)


_Contexts = dict[str, Any] | None
"""Contexts by what is spoken; None where those in force stay."""


def _build(
    old: ServePlan, new: ServePlan
) -> tuple[TrustPolicy | None, _Contexts, list[tuple[TrustPolicy | None, _Contexts]]]:
    """Build what differs from the plan in force: for all listeners, and for each with its own.

    Raises:
        ConfigurationError: Something is wrong with a file.
    """
    with respelled(new.spell):
        policy = _policy_for(new.trust, old.trust)
        shared = [each for each in new.listeners if each.tls_request is None]
        contexts = _contexts_for(new.tls_request, old.tls_request, shared)
    own: list[tuple[TrustPolicy | None, _Contexts]] = []
    for before, after in zip(old.listeners, new.listeners, strict=True):
        with respelled(after.spell):
            trust = _policy_for(after.trust_values, before.trust_values)
            own.append((trust, _contexts_for(after.tls_request, before.tls_request, [after])))
    return policy, contexts, own


def _policy_for(
    values: Mapping[str, Any] | None, before: Mapping[str, Any] | None
) -> TrustPolicy | None:
    """Return another policy where one is asked for, or files may say something else by now.

    One that stays goes on counting.
    """
    if values is None or (values == before and not values.get("trust_file")):
        return None
    return policy_of(values)


def _contexts_for(
    request: TLSRequest | None, before: TLSRequest | None, listeners: Sequence[PlannedListener]
) -> _Contexts:
    """Return new contexts where other options are asked for; None where those in force stay.

    Files that have changed under the same names are read again by the contexts in force.
    """
    if request is None or request == before:
        return None
    return load_contexts(request, listeners)


def _limits(plan: ServePlan) -> dict[str, Any]:
    """Return the limits that a running server can change, those by default, too."""
    limits = {}
    for each in settings_of(taker="server"):
        if each.applies == "reload" and each.table in ("limits", "logs"):
            value = plan.server_options.get(each.parameter, each.in_force)
            limits[each.parameter] = value
    return limits
