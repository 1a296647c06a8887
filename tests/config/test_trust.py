"""The flags of a trust policy, and the lines that say what is in force."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgeserver.config.trust import (
    build_policy,
    check_trust,
    describe_policy,
    split_list,
    stale_files,
)
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy


def test_no_flag_is_no_policy() -> None:
    """Without flags no header is read, and the start lines say so."""
    assert build_policy({"trust": (), "source": None}) is None
    assert describe_policy(None) == ["client address: the peer's; no header is read"]
    assert describe_policy(TrustPolicy.off()) == describe_policy(None)


def test_lists_and_files_add_up(tmp_path: Path) -> None:
    """`--trust` and `--trust-file` may repeat, and lists are split at commas."""
    path = tmp_path / "cdn.txt"
    path.write_text("192.0.2.0/24\n", encoding="utf-8")
    values: dict[str, Any] = {
        "trust": ("10.0.0.0/8, unix:", "loopback"),
        "trust_file": (str(path),),
    }
    policy = build_policy(values)
    assert policy is not None
    assert policy.proxies == ("10.0.0.0/8", "unix:", "loopback", "192.0.2.0/24")
    assert split_list(("a, b,", ",c")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (
            {"trust": ("10.0.0.0/8",)},
            [
                "client address: X-Forwarded-For of trusted proxies 10.0.0.0/8; at most 20 hops",
                "scheme: X-Forwarded-Proto, as sent by 10.0.0.0/8: make sure that the outermost "
                "proxy overwrites it",
            ],
        ),
        (
            {"trust": ("10.0.0.0/8",), "source": "Forwarded", "max_hops": 3},
            [
                "client address: Forwarded of trusted proxies 10.0.0.0/8; at most 3 hops",
                "scheme: the proto of the element of Forwarded that names the client",
            ],
        ),
        (
            {"trust": (",".join(f"10.0.0.{n}" for n in range(1, 9)),), "proto_header": "none"},
            [
                "client address: X-Forwarded-For of trusted proxies 10.0.0.1, 10.0.0.2, 10.0.0.3, "
                "10.0.0.4, 10.0.0.5, 10.0.0.6 and 2 more; at most 20 hops",
                "scheme: the connection's own; no header is read",
            ],
        ),
    ],
)
def test_what_is_in_force(values: dict[str, Any], lines: list[str]) -> None:
    """The start lines name source, scheme, proxies and limit."""
    assert describe_policy(build_policy(values)) == lines


def test_warnings_stand_in_the_start_lines() -> None:
    """Whoever starts a server that believes anybody is told so, with the fix."""
    lines = describe_policy(build_policy({"xheaders": True, "trusted_downstream": ("5.5.5.5",)}))
    assert "skipping 5.5.5.5" in lines[0]
    assert lines[1] == (
        "scheme: X-Scheme, else X-Forwarded-Proto, as sent by any peer: make sure that the "
        "outermost proxy overwrites it"
    )
    assert lines[2].startswith("warning: any-peer-trusted: ")
    assert "--trust" in lines[2]
    (_, _, warning) = describe_policy(build_policy({"trust": ("10.0.0.1/8",)}))
    assert warning.startswith("warning: host-bits-set: 10.0.0.1/8")


@pytest.mark.parametrize("key", ["source", "proto_header", "max_hops", "unlisted", "undeclared"])
@pytest.mark.parametrize("xheaders", [False, True])
def test_flags_that_need_a_policy(key: str, xheaders: bool) -> None:
    """What only a policy reads is refused where there is none, also beside --xheaders."""
    with pytest.raises(ConfigurationError, match="add --trust"):
        build_policy({key: 3, "xheaders": xheaders})


@pytest.mark.parametrize("value", [None, "strip", "keep"])
@pytest.mark.parametrize("name", ["unlisted", "undeclared"])
def test_what_applications_see(name: str, value: str | None) -> None:
    """Both flags mean the policy's argument of the same name."""
    policy = build_policy({"trust": ("10.0.0.0/8",), name: value})
    assert policy is not None
    assert getattr(policy, name) == (value or "strip")


@pytest.mark.parametrize("value", ["", ",", " , "])
@pytest.mark.parametrize("key", ["trust", "trusted_downstream"])
def test_an_empty_list_is_refused(key: str, value: str) -> None:
    """A variable that nobody set must not turn a policy off in silence."""
    flag = "--" + key.replace("_", "-")
    with pytest.raises(ConfigurationError, match=f"{flag} '.*' names no proxy"):
        build_policy({key: ("10.0.0.0/8", value), "xheaders": key != "trust"})


def test_files_of_ranges_have_an_age(tmp_path: Path) -> None:
    """A file is as old as it says itself, else as its system does; then it is warned of."""
    path = tmp_path / "cdn.txt"
    path.write_text("# made by edgeserver audit ranges on 2026-11-01\n192.0.2.0/24\n")
    made_s = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    values: dict[str, Any] = {"trust_file": (str(path),), "trust_file_max_age": 30}
    assert stale_files(values, now_s=made_s + 29 * 86400) == []
    (warning,) = stale_files(values, now_s=made_s + 41 * 86400)
    assert warning.startswith("ranges-stale: ")
    assert "cdn.txt is 41 days old, and may be 30 (--trust-file-max-age)" in warning
    path.write_text("192.0.2.0/24\n")
    os.utime(path, (made_s, made_s))
    assert len(stale_files(values, now_s=made_s + 41 * 86400)) == 1
    assert stale_files(values | {"trust_file_max_age": None}, now_s=made_s * 2) == []


def test_an_age_needs_a_file() -> None:
    """A greatest age without a file means nothing."""
    with pytest.raises(ConfigurationError, match="add --trust-file FILE"):
        check_trust({"trust": ("10.0.0.5",), "trust_file_max_age": 30})
