"""Chains for tests: a configuration as text, and what the judge says of it.

judged = judge(nginx("proxy_set_header X-Forwarded-For $remote_addr;"))
assert judged.client == "right"
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeserver.chains.judge import Entry, Judge, Trial, worst_client, worst_scheme
from edgeserver.chains.kinds import reader_of
from edgeserver.chains.model import ProxyHop
from edgeserver.proxyheaders import TrustPolicy
from tests.chains.sources import Texts

__all__ = ["OUTER", "PROXY", "Judged", "judge", "nginx_location", "outer", "read"]

PROXY, OUTER = "192.0.2.10", "192.0.2.5"


@dataclass
class Judged:
    """The verdicts of one chain, for strangers who connect to one hop."""

    entries: list[Entry]
    judge: Judge

    @property
    def client(self) -> str:
        return worst_client(each.case.client for each in self.entries)

    @property
    def scheme(self) -> str:
        return worst_scheme(each.case.scheme for each in self.entries)

    def scheme_of(self, *, tls: bool) -> str:
        return worst_scheme(each.case.scheme for each in self.entries if each.tls == tls)

    @property
    def trial(self) -> Trial:
        """The request that shows a client that was chosen, replayed."""
        for entry in self.entries:
            if entry.case.client == "spoofable":
                assert entry.case.client_trial is not None
                trial = self.judge.replay(entry, entry.case.client_trial, "client")
                assert trial is not None
                return trial
        raise AssertionError("no client can be chosen")

    @property
    def doubts(self) -> list[str]:
        return [
            f"{doubt.where}: {doubt.text}"
            for entry in self.entries
            for doubt in (*entry.case.client_doubts, *entry.case.scheme_doubts)
        ]


def read(kind: str, text: str, **files: str) -> ProxyHop:
    """Read a configuration that is given as text."""
    reader = reader_of(kind)
    assert reader is not None
    hop = reader("main", Texts(main=text, **files))
    return replace(hop, name="edge", address=PROXY)


def nginx_location(
    location: str, *, server: str = "", http: str = "", listen: str = "80"
) -> ProxyHop:
    """Read an nginx configuration with one location."""
    return read(
        "nginx",
        f"events {{}}\nhttp {{\n{http}\nserver {{\nlisten {listen};\n{server}\n"
        f"location / {{\nproxy_pass http://192.0.2.80:8000;\n{location}\n}}\n}}\n}}\n",
    )


def outer(words: str) -> ProxyHop:
    """Return a proxy that is described in words."""
    reader = reader_of("outer")
    assert reader is not None
    return replace(reader(words, Texts()), name="outer", address=OUTER)


def judge(*hops: ProxyHop, source: str = "x-forwarded-for", first: int = 0) -> Judged:
    """Judge a chain whose proxies the app trusts, and nobody else."""
    policy = TrustPolicy([hop.address for hop in hops], source=source)
    made = Judge(hops, policy)
    return Judged([*made.entries(first)], made)
