"""Tests of reloading: what replaces what, what is kept, and what is said, with real handshakes."""

import asyncio
import errno
import itertools
import logging
import os
import ssl
from pathlib import Path

import pytest

from edgeserver.support.files import read_file
from edgeserver.tls import ReloadTimer, TLSContexts, build_contexts, parse_ssl_options, start_lines
from edgeserver.tls.contexts.host import MAX_AGE_S
from tests.tls import inside, pki
from tests.tls.shake import shake_hands

ROOT = pki.make_ca()
INTERMEDIATE = pki.make_intermediate(ROOT)


def write_whole(path: str | Path, data: bytes) -> None:
    """Replace a file in one step, as careful renewal tools do."""
    temporary = Path(f"{path}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def shown(contexts: TLSContexts, name: str | None = None) -> bytes:
    """Return the certificate that a new connection is shown."""
    context = contexts.select(name).context
    return shake_hands(context, pki.client_context(ROOT)).client.getpeercert(True)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_unchanged_files_change_nothing(tmp_path):
    """A look at unchanged files keeps the very context, and so its tickets."""
    contexts = build_contexts(pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    context = contexts.select(None).context
    result = contexts.reload(force=False)
    assert (result.replaced, result.kept, result.ok) == ((), {}, True)
    assert contexts.select(None).context is context


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_new_pair_serves_new_connections(tmp_path, kind):
    """After both files changed, new connections see the new chain; a live one talks on."""
    contexts = build_contexts(pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    live = shake_hands(contexts.select(None).context, pki.client_context(ROOT))
    leaf = pki.make_leaf(INTERMEDIATE, kind=kind)
    pki.write_pair(tmp_path, leaf)
    assert contexts.changed()
    assert contexts.reload(force=False).replaced == ("",)
    assert shown(contexts) == leaf.der
    live.client.write(b"still here")
    assert live.server.read(20) == b"still here"


def test_forced_reload_renews_tickets(tmp_path):
    """SIGHUP with unchanged files makes a new context, and old tickets no longer resume."""
    contexts = build_contexts(pki.write_pair(tmp_path, pki.make_leaf(ROOT)))
    client = pki.client_context(ROOT)
    session = shake_hands(contexts.select(None).context, client).client.session
    assert contexts.reload().replaced == ("",)
    ends = shake_hands(contexts.select(None).context, client, session=session)
    assert not ends.server.session_reused


TORN = {
    "new certificate, old key": lambda pair, new: write_whole(pair["certfile"], new.pem),
    "new key, old certificate": lambda pair, new: write_whole(pair["keyfile"], new.key_pem),
    "certificate cut": lambda pair, new: write_whole(pair["certfile"], new.pem[:300]),
    "certificate emptied": lambda pair, new: write_whole(pair["certfile"], b""),
    "key gone": lambda pair, new: os.unlink(pair["keyfile"]),
    "key garbage": lambda pair, new: write_whole(pair["keyfile"], b"\x00\xff" * 500),
    "expired pair": lambda pair, new: (
        write_whole(pair["certfile"], (old := pki.make_leaf(ROOT, end_days=-0.5)).pem),
        write_whole(pair["keyfile"], old.key_pem),
    ),
    "weak pair": lambda pair, new: (
        write_whole(pair["certfile"], (weak := pki.make_leaf(ROOT, kind="rsa1024")).pem),
        write_whole(pair["keyfile"], weak.key_pem),
    ),
}


@pytest.mark.parametrize("tear", TORN.values(), ids=TORN)
def test_a_torn_or_wrong_pair_keeps_the_last_good_one(tmp_path, caplog, tear):
    """What is wrong is said once and shown in the status, and put right it is taken."""
    good, new = pki.make_leaf(ROOT), pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, good)
    contexts = build_contexts(pair)
    with caplog.at_level(logging.WARNING, "edgeserver.general"):
        tear(pair, new)
        for _ in range(3):
            result = contexts.reload()
            assert not result.ok
            assert result.replaced == ()
    assert shown(contexts) == good.der
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the last good files stay in use" in caplog.text
    assert contexts.status()[0].problem == result.kept[""]
    assert any("newer files are not in use" in line for line in start_lines(contexts))
    pki.write_pair(tmp_path, new)
    assert contexts.reload(force=False).replaced == ("",)
    assert shown(contexts) == new.der
    assert contexts.status()[0].problem == ""


def test_a_pair_torn_fifty_times_never_fails_a_handshake(tmp_path):
    """At every moment of fifty renewals in the worst order a new connection is served."""
    leaf = pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, leaf)
    contexts = build_contexts(pair)
    for _ in range(50):
        new = pki.make_leaf(ROOT)
        write_whole(pair["certfile"], new.pem[: len(new.pem) // 2])
        contexts.reload(force=False)
        assert shown(contexts) == leaf.der
        write_whole(pair["certfile"], new.pem)
        contexts.reload(force=False)
        assert shown(contexts) == leaf.der
        write_whole(pair["keyfile"], new.key_pem)
        assert contexts.reload(force=False).ok
        assert shown(contexts) == new.der
        leaf = new


def test_a_host_is_reloaded_alone(tmp_path):
    """A wrong pair of one host does not keep another's renewal back."""
    first, second = pki.make_leaf(ROOT, "a.test"), pki.make_leaf(ROOT, "b.test")
    a, b = pki.write_pair(tmp_path, first, "a"), pki.write_pair(tmp_path, second, "b")
    contexts = build_contexts({**a, "hosts": {"b.test": b}})
    write_whole(a["certfile"], b"torn")
    renewed = pki.make_leaf(ROOT, "b.test")
    pki.write_pair(tmp_path, renewed, "b")
    result = contexts.reload(force=False)
    assert result.replaced == ("b.test",)
    assert set(result.kept) == {""}
    assert shown(contexts) == first.der
    assert shown(contexts, "b.test") == renewed.der


def test_exchanged_links_are_a_change(tmp_path):
    """Kubernetes exchanges a link to a directory: same name, other file."""
    first, second = pki.make_leaf(ROOT), pki.make_leaf(ROOT)
    for label, leaf in (("one", first), ("two", second)):
        (tmp_path / label).mkdir()
        pki.write_pair(tmp_path / label, leaf)
    link = tmp_path / "current"
    link.symlink_to("one")
    contexts = build_contexts({"certfile": link / "server.pem", "keyfile": link / "server.key"})
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", link)
    assert contexts.changed()
    contexts.reload(force=False)
    assert shown(contexts) == second.der


def test_old_metadata_is_no_change_and_young_metadata_is_looked_at_again(tmp_path):
    """A file written just before it was read may change unseen, so it is read once more."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    assert build_contexts(pair).changed()
    for path in pair.values():
        os.utime(path, (1, 1))
    contexts = build_contexts(pair)
    assert not contexts.changed()
    os.utime(pair["certfile"], (2, 2))
    assert contexts.changed()
    contexts.reload(force=False)
    assert not contexts.changed()


@pytest.fixture
def unreadable(monkeypatch):
    """Paths that may not be read, as for a user that is not root."""
    paths = set()

    def read(path, most):
        if path in paths:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_file(path, most)

    monkeypatch.setattr("edgeserver.tls.certificates.pem.read_file", read)
    return paths


@pytest.mark.parametrize("what", ["certfile", "keyfile", "ca_certs"])
def test_rights_that_are_put_right_are_a_cure(tmp_path, unreadable, what):
    """A renewal that may be read only later is loaded then, though its metadata is the same."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ROOT.pem)
    options = {
        **pki.write_pair(tmp_path, pki.make_leaf(ROOT)),
        "client_auth": "optional",
        "ca_certs": str(ca),
    }
    contexts = build_contexts(options)
    new = pki.make_leaf(ROOT)
    pki.write_pair(tmp_path, new)
    for key in ("certfile", "keyfile", "ca_certs"):
        os.utime(options[key], (2, 2))
    unreadable.add(options[what])
    assert "may not be read" in contexts.reload(force=False).kept[""]
    unreadable.clear()
    assert contexts.changed()
    assert contexts.reload(force=False).replaced == ("",)
    assert shown(contexts) == new.der


def test_a_password_that_was_missing_is_a_cure(tmp_path):
    """What cures a load may stand in no file that is looked at."""
    password = []
    leaf = pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, leaf)
    contexts = build_contexts({**pair, "password": lambda: password[0]})
    new = pki.make_leaf(ROOT)
    write_whole(pair["certfile"], new.pem)
    write_whole(pair["keyfile"], pki.render_key(new.key, password=b"secret"))
    for path in pair.values():
        os.utime(path, (2, 2))
    assert not contexts.reload(force=False).ok
    password.append(b"secret")
    assert contexts.changed()
    assert contexts.reload(force=False).replaced == ("",)


def test_a_problem_is_said_every_hour_until_it_is_well(tmp_path, caplog):
    """Each look tries again in silence; the warning comes back each hour, the end is no warning."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    clock = Clock()
    contexts = TLSContexts(parse_ssl_options(pair), clock=clock)
    whole = Path(pair["certfile"]).read_bytes()
    write_whole(pair["certfile"], b"torn")
    caplog.set_level(logging.INFO, "edgeserver.general")
    for _ in range(3 * 60):
        assert contexts.changed()
        contexts.reload(force=False)
        clock.now_s += 60
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    caplog.clear()
    write_whole(pair["certfile"], whole)
    assert contexts.reload(force=False).ok
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "can be loaded again" in caplog.text


def test_problems_that_vary_are_said_within_a_limit(tmp_path, caplog):
    """A problem in ever new words is logged fifty times an hour at most."""
    attempts = itertools.count()
    leaf = pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, leaf)

    def password():
        raise OSError(f"attempt {next(attempts)}")

    contexts = TLSContexts(parse_ssl_options({**pair, "password": password}), clock=Clock())
    write_whole(pair["keyfile"], pki.render_key(leaf.key, password=b"secret"))
    for _ in range(80):
        assert not contexts.reload(force=False).ok
    assert len(caplog.records) == 50


def test_a_load_that_fails_slowly_is_not_tried_at_each_look(tmp_path):
    """Where a load waits for a pipe, say, the server has nine tenths of the time for others."""
    leaf = pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, leaf)
    clock = Clock()

    def password():
        clock.now_s += 5
        raise OSError("no answer")

    contexts = TLSContexts(parse_ssl_options({**pair, "password": password}), clock=clock)
    write_whole(pair["keyfile"], pki.render_key(leaf.key, password=b"secret"))
    contexts.reload(force=False)
    assert not contexts.changed()
    clock.now_s += 50
    assert contexts.changed()


def test_contexts_are_renewed_before_their_ticket_keys_are_old(tmp_path):
    """After twelve hours each host gets a new context in turn, from the last good files."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    clock = Clock()
    contexts = TLSContexts(parse_ssl_options({**pair, "hosts": {"b.test": pair}}), clock=clock)
    assert contexts.renew_aged() is None
    before = contexts.select(None).context
    write_whole(pair["certfile"], b"torn")
    clock.now_s += MAX_AGE_S
    assert [contexts.renew_aged() for _ in range(3)] == ["", "b.test", None]
    assert contexts.select(None).context is not before
    assert shown(contexts)


def test_a_failed_renewal_of_ticket_keys_is_tried_again_later(tmp_path, monkeypatch, caplog):
    """Without file descriptors the old context stays, and half a minute later it is renewed."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    clock = Clock()
    contexts = TLSContexts(parse_ssl_options(pair), clock=clock)
    before = contexts.select(None).context
    clock.now_s += MAX_AGE_S

    def refuse(*args, **kwargs):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("edgeserver.tls.contexts.host.build_context", refuse)
        assert contexts.renew_aged() is None
        assert contexts.renew_aged() is None
    assert caplog.text.count("Too many open files") == 1
    assert contexts.select(None).context is before
    clock.now_s += 31
    assert contexts.renew_aged() == ""


def test_the_ca_is_reloaded(tmp_path):
    """Clients of an authority that was added get in after the reload, without a restart."""
    other = pki.make_ca("Other")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ROOT.pem)
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    contexts = build_contexts({**pair, "client_auth": "required", "ca_certs": ca})
    client = pki.client_context(ROOT, pki.make_client(other), directory=tmp_path)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake_hands(contexts.select(None).context, client)
    write_whole(ca, ROOT.pem + other.pem)
    contexts.reload(force=False)
    assert shake_hands(contexts.select(None).context, client)


def test_a_password_is_asked_for_at_each_load(tmp_path):
    """A callable password follows a key that was encrypted anew."""
    passwords = itertools.chain([b"one", b"two"])
    leaf = pki.make_leaf(ROOT)
    pair = pki.write_pair(tmp_path, leaf)
    write_whole(pair["keyfile"], pki.render_key(leaf.key, password=b"one"))
    contexts = build_contexts({**pair, "password": lambda: next(passwords)})
    write_whole(pair["keyfile"], pki.render_key(leaf.key, password=b"two"))
    assert contexts.reload(force=False).ok


async def test_the_timer_looks_and_stops(tmp_path):
    """Started, the timer finds a renewal by itself; stopped, it leaves nothing behind."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    contexts = build_contexts({**pair, "reload": 0.001})
    replaced = asyncio.Event()

    class Watched:
        """The contexts, and who waits for their reload."""

        def __getattr__(self, name):
            return getattr(contexts, name)

        def reload(self, *, force):
            if contexts.reload(force=force).replaced:
                replaced.set()

    timer = ReloadTimer(Watched())
    timer.start(asyncio.get_running_loop())
    timer.start(asyncio.get_running_loop())
    leaf = pki.make_leaf(ROOT)
    pki.write_pair(tmp_path, leaf)
    await asyncio.wait_for(replaced.wait(), 10)
    timer.stop()
    assert shown(contexts) == leaf.der
    assert not inside.is_ticking(timer)


def test_the_timer_can_be_off(tmp_path):
    """With reload=False files are never looked at, but ticket keys are still renewed."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    clock = Clock()
    contexts = TLSContexts(parse_ssl_options({**pair, "reload": False}), clock=clock)
    timer = ReloadTimer(contexts)
    before = contexts.select(None).context
    pki.write_pair(tmp_path, pki.make_leaf(ROOT))
    timer.tick()
    assert contexts.select(None).context is before
    clock.now_s += MAX_AGE_S
    timer.tick()
    assert contexts.select(None).context is not before


def test_start_lines(tmp_path):
    """They say names, expiry in days, versions and client policy, and what is wrong."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ROOT.pem)
    names = [f"n{number}.test" for number in range(6)]
    main = pki.write_pair(tmp_path, pki.make_leaf(ROOT, *names, end_days=40.5), "main")
    short = pki.make_leaf(ROOT, "soon.test", start_days=-8, end_days=1.5)
    soon = pki.write_pair(tmp_path, short, "soon")
    gone = pki.write_pair(tmp_path, pki.make_leaf(ROOT, "gone.test", end_days=-0.5), "gone")
    contexts = build_contexts(
        {
            **main,
            "hosts": {
                "soon.test": {
                    **soon,
                    "policy": "modern",
                    "client_auth": "optional",
                    "ca_certs": ca,
                },
                "other.test": gone,
            },
        }
    )
    lines = start_lines(contexts)
    assert lines[0].startswith("TLS: n0.test, n1.test, n2.test, n3.test and 2 more; expires in 40 ")
    assert lines[0].endswith("; TLS 1.2 and 1.3; no client certificates")
    assert 'TLS for "soon.test": soon.test; expires in 1 day (' in lines[1]
    assert f"TLS 1.3; client certificate optional, CA {ca}" in lines[1]
    assert lines[2].startswith("warning: soon.test: expires in 1 day")
    assert "EXPIRED on " in lines[3]
    assert "every client refuses it: renew it" in lines[4]
    assert 'hosts["other.test"]' in lines[5]
    assert "is not for that name but for gone.test" in lines[5]
    assert len(lines) == 6
    assert contexts.status()[0].as_dict()["names"] == names


def test_start_lines_have_the_doctors_findings(tmp_path):
    """What no error stops and no date shows is said at the start: an exposed key, no names."""
    pair = pki.write_pair(tmp_path, pki.issue("own.test"))
    os.chmod(pair["keyfile"], 0o644)
    text = "\n".join(start_lines(build_contexts(pair)))
    assert f"chmod 600 {pair['keyfile']}" in text
    assert "has no subject alternative name" in text
    assert "the certificate is its own issuer" in text


def test_start_lines_of_a_given_context():
    """Of a context that the application made only versions and client policy are known."""
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    given.verify_mode = ssl.CERT_OPTIONAL
    assert start_lines(build_contexts(given)) == [
        "TLS: TLS 1.2 and 1.3; client certificate optional"
    ]


def test_a_repaired_chain_is_said(tmp_path, caplog):
    """What was repaired in memory is logged at start and stands in the start lines."""
    leaf = pki.make_leaf(INTERMEDIATE)
    pair = pki.write_pair(tmp_path, leaf)
    write_whole(
        pair["certfile"], pki.render_certs(ROOT.cert, INTERMEDIATE.cert, leaf.cert, leaf.cert)
    )
    contexts = build_contexts(pair)
    assert shown(contexts) == leaf.der
    for words in ("1 duplicate left out", 'root "Test Root" left out', "put into order"):
        assert words in caplog.text
        assert any(words in line for line in start_lines(contexts))
