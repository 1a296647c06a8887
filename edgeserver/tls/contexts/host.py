"""The context of one host over its life: made at start, replaced when its files change.

Decides when new files may take the place of the last good ones. It knows neither the other hosts
(`selector` does) nor the event loop (`reload` does).
"""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Callable
from typing import Literal

from cryptography.hazmat.primitives import hashes

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.loggers import gen_log
from edgeserver.tls.certificates.keys import describe_key
from edgeserver.tls.certificates.material import Material, files_of, load_material
from edgeserver.tls.certificates.validity import renew_after
from edgeserver.tls.contexts.build import build_context
from edgeserver.tls.contexts.file_stamps import stamp_files
from edgeserver.tls.contexts.status import HostStatus, render_names
from edgeserver.tls.doctor.startup import find_weaknesses
from edgeserver.tls.settings.hosts import covers
from edgeserver.tls.settings.options import TLSOptions

__all__ = ["MAX_AGE_S", "HostContext", "ReloadOutcome"]

MAX_AGE_S = 12 * 3600.0
"""After this a context is built anew, since its ticket keys should not live longer.

Source: RFC 9325 section 3.4: keys that protect tickets must be changed regularly.
"""

_RETRY_S = 30.0  # after ticket keys could not be renewed
_WARN_AGAIN_S = 3600.0
_MAX_REMEMBERED = 50
_SLOW_S = 0.5  # a load that took longer, as from a pipe, and failed, waits ten times as long

ReloadOutcome = Literal["same", "replaced", "kept"]
"""Of a reload: nothing new; the new files are in use; the last good ones stay in use."""


class HostContext:
    """One host's current context and material.

    Args:
        host: The configured name; empty for the default.
        options: The host's settings.
        clock: Seconds that only grow, as `time.monotonic`.

    Raises:
        TLSConfigurationError: The files are wrong; the message names the host too.
    """

    material: Material
    context: ssl.SSLContext

    def __init__(
        self, host: str, options: TLSOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.host = host
        self.options = options
        self.files = files_of(options)
        self.problem = ""  # why the last load has failed
        self._warned: dict[str, float] = {}  # when each problem was logged last, since all was well
        self._clock = clock
        self._stamp = stamp_files(self.files)  # what the files were at the last load
        self._retry_s = 0.0  # before that what has failed is not tried again
        try:
            material = load_material(options)
            self._use(material, build=True)
        except TLSConfigurationError as error:
            if not host:
                raise
            raise TLSConfigurationError(f'hosts["{host}"]: {error}') from None
        self._say_loaded(material)

    @property
    def label(self) -> str:
        """How log lines call this host."""
        return f'host "{self.host}"' if self.host else "the default certificate"

    @property
    def due(self) -> bool:
        """Whether the context is so old that its ticket keys must change."""
        return self._clock() - self.built_s >= MAX_AGE_S

    def covers(self, name: str) -> bool:
        """Return whether the certificate is for the DNS name `name` (normalized)."""
        return covers(self._names, name)

    def status(self) -> HostStatus:
        """Return what is served now, its dates judged by today."""
        material = self.material
        leaf = material.chain.leaf
        return HostStatus(
            host=self.host,
            versions=self.options.versions,
            client_policy=str(self.options.client_policy),
            names=material.names,
            key=describe_key(leaf.public_key()),
            fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
            not_after=material.not_after,
            renew_after=renew_after(material.chain.certs),
            loaded_at=self.loaded_at,
            repairs=material.chain.repairs,
            warnings=(*material.warnings(), *self._explain_uncovered(), *self.weaknesses),
            problem=self.problem,
        )

    def _explain_uncovered(self) -> list[str]:
        if not self.host or self.covers(self.host):
            return []
        return [
            f'hosts["{self.host}"]: certfile "{self.options.certfile}" is not for that name but '
            f"for {render_names(self.material.names) or 'none'}: clients that check it refuse"
        ]

    def changed(self) -> bool:
        """Return whether a look at the files is worth while: they changed, or a load has failed.

        What cures a failed load need not show in the files' metadata: rights are put right,
        directories and links above too, a password is stored where it was missing, a date comes.
        """
        if self.problem:
            return self._clock() >= self._retry_s
        return self._stamp.racy or stamp_files(self.files).files != self._stamp.files

    def reload(self, *, force: bool) -> ReloadOutcome:
        """Read the files again; what is wrong with them changes nothing but `problem`.

        Args:
            force: Whether to build a context, with new ticket keys, from unchanged files too.
        """
        self._stamp = stamp_files(self.files)
        started_s = self._clock()
        try:
            material = load_material(self.options, is_reload=True)
            build = force or material.digest != self.material.digest
            if build:
                self._refuse_worse(material)
            self._use(material, build=build)
        except Exception as error:  # whatever it is, it may not end a server that works
            now_s = self._clock()
            took_s = now_s - started_s
            self._retry_s = now_s + 10 * took_s if took_s > _SLOW_S else 0.0
            self._keep(error, now_s)
            return "kept"
        if self.problem:
            gen_log.info("TLS: %s can be loaded again", self.label)
        self.problem = ""
        self._warned.clear()
        if not build:
            return "same"
        gen_log.info(
            "TLS: %s reloaded, expires %s", self.label, f"{material.not_after:%Y-%m-%d %H:%M} UTC"
        )
        self._say_loaded(material)
        return "replaced"

    def renew_tickets(self) -> bool:
        """Build the context anew from the last good files, and so with new ticket keys.

        Returns:
            Whether it worked; it fails where the process has no file descriptor left, say.
        """
        try:
            self._use(self.material, build=True)
        except Exception as error:  # as in `reload`
            now_s = self._clock()
            if self._may_warn(f"ticket keys: {error}", now_s):
                gen_log.warning("TLS: ticket keys of %s not renewed: %s", self.label, error)
            self.built_s = now_s - MAX_AGE_S + _RETRY_S
            return False
        return True

    def _use(self, material: Material, *, build: bool) -> None:
        """Let `material` be the one in use; whatever fails, fails before anything changes."""
        names = frozenset(material.names)
        if build:
            context = build_context(material, self.options)
            self.weaknesses = find_weaknesses(material, self.options)
            self.context = context
            self.built_s = self._clock()
            self.loaded_at = datetime.datetime.now(datetime.UTC)
        self.material = material
        self._names = names

    def _refuse_worse(self, material: Material) -> None:
        """Refuse a pair that clients would refuse, while they accept the one in use."""
        now = datetime.datetime.now(datetime.UTC)
        said = material.explain_dates(now)
        if said and not self.material.explain_dates(now):
            raise TLSConfigurationError(said[0])

    def _keep(self, error: Exception, now_s: float) -> None:
        """Note why the last good files stay in use; say so, and every hour until all is well."""
        known = isinstance(error, TLSConfigurationError)
        self.problem = str(error) if known else f"{type(error).__name__}: {error}"
        if not self._may_warn(self.problem, now_s):
            return
        gen_log.warning(
            "TLS: %s not reloaded, the last good files stay in use (they expire %s): %s",
            self.label,
            f"{self.material.not_after:%Y-%m-%d}",
            self.problem,
        )

    def _may_warn(self, problem: str, now_s: float) -> bool:
        """Return whether a problem was not logged within the hour, nor too many others."""
        recent = {
            other: said_s
            for other, said_s in self._warned.items()
            if now_s - said_s < _WARN_AGAIN_S
        }
        self._warned = recent
        if problem in recent or len(recent) >= _MAX_REMEMBERED:
            return False
        recent[problem] = now_s
        return True

    def _say_loaded(self, material: Material) -> None:
        for repair in material.chain.repairs:
            gen_log.warning(
                'TLS: chain of certfile "%s" repaired in memory: %s', self.options.certfile, repair
            )
        for warning in (*material.warnings(), *self.weaknesses):
            gen_log.warning("TLS: %s", warning)
