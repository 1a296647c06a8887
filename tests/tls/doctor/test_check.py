"""Tests of the doctor: each finding, the grade, the command, and real servers on the network."""

import contextlib
import json
import os
import socket
import ssl
import threading

import pytest
from click.testing import CliRunner
from cryptography import x509

from edgeserver.cli.tls import tls
from edgeserver.errors import TLSConfigurationError
from edgeserver.tls import build_contexts, ssl_options_to_context, start_lines
from edgeserver.tls.doctor.check import check_endpoint, check_files, check_targets
from edgeserver.tls.doctor.endpoint import parse_endpoint
from edgeserver.tls.doctor.findings import GRADE_CAPS, Report
from tests.tls import pki

ROOT = pki.make_ca()
INTERMEDIATE = pki.make_intermediate(ROOT)
AIA = "http://ca.test/intermediate.der"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(name: str, data: bytes, mode: int = 0o600) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    return write


def codes(report: Report) -> list[str]:
    """Return what was found, by code, in order."""
    return [finding.code for finding in report.findings]


def test_a_good_pair_has_nothing_to_put_right(write):
    """A chain, its key and its root in any order are an A."""
    leaf = pki.make_leaf(INTERMEDIATE, "www.test")
    report = check_files(
        [
            write("key.pem", leaf.key_pem),
            write("ca.pem", ROOT.pem),
            write("chain.pem", leaf.pem),
            write("ca.crl", pki.make_crl(ROOT)),
        ],
        names=["www.test"],
    )
    assert codes(report) == []
    assert report.notes == []
    assert report.grade == "A"
    assert report.render()[-1] == "grade A: nothing to put right"
    assert len(report.subjects) == 4


def _sha1(leaf: pki.Issued) -> bytes:
    """Return a chain whose leaf says it is signed with SHA-1 (nobody signs so any more)."""
    sha256 = bytes.fromhex("06082a8648ce3d040302")
    sha1 = bytes.fromhex("06072a8648ce3d0401")
    assert leaf.der.count(sha256) == 2
    # both algorithm identifiers are one byte shorter; the three lengths around them follow
    der = leaf.der.replace(b"\x30\x0a" + sha256, b"\x30\x09" + sha1)
    outer, inner = int.from_bytes(der[2:4], "big"), int.from_bytes(der[6:8], "big")
    der = (
        der[:2]
        + (outer - 2).to_bytes(2, "big")
        + der[4:6]
        + (inner - 1).to_bytes(2, "big")
        + der[8:]
    )
    return pki.render_certs(x509.load_der_x509_certificate(der), *leaf.chain)


def _leaf(*names: str, **how) -> pki.Issued:
    return pki.make_leaf(INTERMEDIATE, *(names or ("www.test",)), **how)


CHAINS = {
    "expired": (lambda: _leaf(end_days=-0.5).pem, "expired"),
    "future": (lambda: _leaf(start_days=2).pem, "not-yet-valid"),
    "a third": (lambda: _leaf(start_days=-60, end_days=25).pem, "renew-soon"),
    "long-lived": (lambda: _leaf(start_days=-1000, end_days=25).pem, "renew-soon"),
    "short key": (lambda: _leaf(kind="rsa1024").pem, "weak-key"),
    "sha-1": (lambda: _sha1(_leaf()), "weak-signature"),
    "order": (
        lambda: pki.render_certs(INTERMEDIATE.cert, _leaf().cert),
        "chain-order",
    ),
    "root": (lambda: _leaf().pem + ROOT.pem, "root-included"),
    "twice": (lambda: (leaf := _leaf()).pem + leaf.pem, "chain-duplicate"),
    "stranger": (lambda: _leaf().pem + pki.make_ca("Stranger").pem, "chain-stranger"),
    "no intermediate": (
        lambda: pki.issue(
            "x", issuer=INTERMEDIATE, names=["www.test"], ca_issuers=AIA
        ).cert.public_bytes(pki.serialization.Encoding.PEM),
        "intermediate-missing",
    ),
    "no names": (lambda: pki.issue("www.test", issuer=INTERMEDIATE).pem, "no-san"),
    "other name": (lambda: _leaf("other.test", "www.test.other").pem, "name-missing"),
    "more names": (lambda: _leaf("www.test", "old.test").pem, "name-unused"),
    "self-signed": (lambda: pki.issue("www.test", names=["www.test"]).pem, "self-signed"),
    "for clients": (lambda: pki.make_client(INTERMEDIATE, "x", "www.test").pem, "not-for-servers"),
    "for clients by name": (
        lambda: pki.make_client(INTERMEDIATE, "x", "spiffe://www.test/x").pem,
        "not-for-servers",
    ),
    "no signatures with RSA": (
        lambda: (
            pki.issue(
                "x",
                issuer=INTERMEDIATE,
                names=["www.test"],
                kind="rsa",
                key_usage=["key_encipherment"],
            ).pem
        ),
        "key-usage",
    ),
    "no signatures with ECDSA": (
        lambda: (
            pki.issue("x", issuer=INTERMEDIATE, names=["www.test"], key_usage=["key_agreement"]).pem
        ),
        "key-usage",
    ),
    "for code": (
        lambda: (
            pki.issue(
                "x",
                issuer=INTERMEDIATE,
                names=["www.test"],
                usage=x509.ExtendedKeyUsageOID.CODE_SIGNING,
            ).pem
        ),
        "not-for-servers",
    ),
}


@pytest.mark.parametrize(("make", "code"), CHAINS.values(), ids=CHAINS)
def test_what_is_wrong_with_a_chain(write, make, code):
    """Each fault of a chain is found, with the file, what it is and the fix."""
    path = write("chain.pem", make())
    report = check_files([path], names=["www.test"])
    assert code in codes(report)
    finding = next(each for each in report.findings if each.code == code)
    assert finding.where == path
    assert finding.what
    assert finding.fix
    assert report.grade >= GRADE_CAPS[code]
    # one fault is one finding, but where one brings the other with it
    assert set(codes(report)) - {code} <= {"name-unused", "chain-stranger"}


@pytest.mark.parametrize(
    ("start_days", "end_days", "soon"),
    [(-60, 31, False), (-60, 29, True), (-4, 3, False), (-5, 2, True), (-1000, 31, False)],
)
def test_renew_within_a_third_but_not_a_year_ahead(write, start_days, end_days, soon):
    """A third of the lifetime counts, up to 30 days."""
    leaf = _leaf(start_days=start_days, end_days=end_days)
    report = check_files([write("chain.pem", leaf.pem)])
    assert ("renew-soon" in codes(report)) is soon


FILES = {
    "key of another": (
        lambda: [("c.pem", _leaf().pem), ("k.pem", _leaf().key_pem)],
        "key-mismatch",
    ),
    "key readable": (lambda: [("k.pem", _leaf().key_pem, 0o644)], "key-readable"),
    "key writable by group": (lambda: [("k.pem", _leaf().key_pem, 0o620)], "key-readable"),
    "crl expired": (lambda: [("c.crl", pki.make_crl(ROOT, end_days=-0.1))], "crl-expired"),
    "crl forged": (
        lambda: [
            ("ca.pem", ROOT.pem),
            ("c.crl", pki.make_crl(pki.Issued(ROOT.cert, pki.make_key("ec")))),
        ],
        "crl-forged",
    ),
    "authority expired": (lambda: [("ca.pem", pki.make_ca("Old", end_days=-0.1).pem)], "expired"),
    "cut": (lambda: [("c.pem", _leaf().pem[:300])], "damaged"),
    "damaged certificate": (
        lambda: [("c.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")],
        "damaged",
    ),
    "damaged key": (
        lambda: [("c.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")],
        "damaged",
    ),
    "text": (lambda: [("c.pem", b"hello")], "unreadable"),
    "empty": (lambda: [("c.pem", b"")], "unreadable"),
}


@pytest.mark.parametrize(("make", "code"), FILES.values(), ids=FILES)
def test_what_is_wrong_with_files(write, make, code):
    """Each fault of a file, or of files together, is found."""
    report = check_files([write(*each) for each in make()])
    assert codes(report) == [code]


NOTES = {
    "group": (lambda: [("k.pem", _leaf().key_pem, 0o640)], "the group of this private key"),
    "locked": (
        lambda: [("k.pem", pki.render_key(pki.make_key("ec"), password=b"x"))],
        "an encrypted key, not checked without password",
    ),
    "no key": (lambda: [("c.pem", _leaf().pem)], "no private key was given"),
    "root unknown": (lambda: [("c.pem", _leaf().pem)], 'must have "Test Root" as a root'),
    "client": (lambda: [("c.pem", pki.make_client(ROOT).pem)], "a client's certificate"),
    "crl of another": (
        lambda: [("ca.pem", ROOT.pem), ("c.crl", pki.make_crl(pki.make_ca("Other")))],
        "its issuer is none of the authorities given",
    ),
}


@pytest.mark.parametrize(("make", "words"), NOTES.values(), ids=NOTES)
def test_what_is_worth_knowing(write, make, words):
    """What may be as intended is a note and leaves the grade alone."""
    report = check_files([write(*each) for each in make()])
    assert codes(report) == []
    assert any(words in note for note in report.notes)


def test_an_intermediate_in_another_file_is_missing(write):
    """It is the certificate's own file that is sent, so what lies beside it helps no client."""
    leaf = pki.render_certs(_leaf().cert)
    other = write("intermediate.pem", pki.render_certs(INTERMEDIATE.cert))
    report = check_files([write("leaf.pem", leaf), other, write("ca.pem", ROOT.pem)])
    assert codes(report) == ["intermediate-missing"]
    assert report.findings[0].fix == f"append it: it is in {other}"


def test_an_intermediate_is_missing_where_the_roots_are_known(write):
    """A chain that ends at none of the roots given is not a matter of taste any more."""
    path, ca = write("leaf.pem", pki.render_certs(_leaf().cert)), write("ca.pem", ROOT.pem)
    report = check_targets([path], ca_certs=ca)
    assert codes(report) == ["intermediate-missing"]
    assert "or in --ca-certs" in report.findings[0].what
    assert codes(check_targets([write("c.pem", _leaf().pem)], ca_certs=ca)) == []
    anchor = write("i.pem", pki.render_certs(INTERMEDIATE.cert))
    assert codes(check_targets([path], ca_certs=anchor)) == []
    with pytest.raises(TLSConfigurationError, match='ca_certs "" does not exist'):
        check_targets([path], ca_certs="")


@pytest.mark.parametrize(
    ("data", "code"),
    [(ROOT.der, "unreadable"), (b"\x30\x03abc", "unreadable")],
    ids=["certificate", "nothing"],
)
def test_der_is_one_finding(write, data, code):
    """A binary certificate is no damaged revocation list."""
    report = check_files([write("a.der", data)])
    assert codes(report) == [code]
    assert "not PEM: convert it with `openssl x509 -inform DER" in report.findings[0].what


def test_an_endpoint_is_escaped():
    """What was pasted as a host cannot write to the terminal."""
    assert str(parse_endpoint("\x1b[31mx:443")) == "\\x1b[31mx:443"


def test_self_signed_as_openssl_makes_it(write):
    """A self-signed server's certificate that says CA is a server's where its key is at hand."""
    own = pki.issue("own.test", names=["own.test"])
    report = check_files([write("c.pem", own.pem), write("k.pem", own.key_pem)])
    assert codes(report) == ["self-signed"]


def test_the_worst_finding_makes_the_grade(write):
    """A grade has the codes that led to it as its reasons."""
    leaf = _leaf(start_days=-60, end_days=20)
    report = check_files([write("c.pem", leaf.pem), write("k.pem", leaf.key_pem, 0o604)])
    assert set(codes(report)) == {"renew-soon", "key-readable"}
    assert (report.grade, report.reasons) == ("C", ["key-readable"])


@contextlib.contextmanager
def serving(context):
    """Serve TLS handshakes on a real socket; yields its endpoint as text."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), sock:
                sock.settimeout(5)
                if context is None:
                    sock.recv(1000)
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    continue
                with context.wrap_socket(sock, server_side=True) as connection:
                    connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_our_own_server_has_nothing_to_put_right(write, tmp_path, kind):
    """What edgeserver serves by default is an A to its own doctor."""
    ca = write("ca.pem", ROOT.pem)
    leaf = pki.make_leaf(INTERMEDIATE, "127.0.0.1", kind=kind)
    context = ssl_options_to_context(pki.write_pair(tmp_path, leaf))
    with serving(context) as endpoint:
        report = check_targets([endpoint], ca_certs=ca)
    assert codes(report) == []
    assert any("speaks TLS 1.2, TLS 1.3" in line for line in report.subjects)
    assert any("ALPN http/1.1" in line for line in report.subjects)


def test_a_badly_set_up_server(write, tmp_path):
    """No TLS 1.3, weak suites, a wrong name and a root that is sent are all found."""
    leaf = pki.make_leaf(INTERMEDIATE, "other.test", kind="rsa")
    pair = pki.write_pair(tmp_path, leaf)
    chain = pki.render_certs(leaf.cert, ROOT.cert, INTERMEDIATE.cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write("chain.pem", chain), pair["keyfile"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    with serving(context) as endpoint:
        report = check_targets([endpoint], names=["asked.test"])
    assert set(codes(report)) >= {"no-tls13", "weak-cipher", "name-missing", "root-included"}


def test_an_unknown_authority_is_untrusted(tmp_path):
    """A server whose root this system does not have is refused by its clients."""
    leaf = pki.make_leaf(INTERMEDIATE, "127.0.0.1")
    with serving(ssl_options_to_context(pki.write_pair(tmp_path, leaf))) as endpoint:
        report = check_targets([endpoint])
    assert codes(report) == ["untrusted"]


def test_a_server_that_sends_no_intermediate(write, tmp_path):
    """Where the roots are known, what is missing is said, and not only that nobody trusts it."""
    leaf = pki.make_leaf(INTERMEDIATE, "127.0.0.1")
    pair = pki.write_pair(tmp_path, leaf)
    pair["certfile"] = write("leaf.pem", pki.render_certs(leaf.cert))
    with serving(ssl_options_to_context(pair)) as endpoint:
        report = check_targets([endpoint], ca_certs=write("ca.pem", ROOT.pem))
    assert set(codes(report)) == {"intermediate-missing", "untrusted"}


def test_a_server_that_speaks_no_tls(write):
    """Plain HTTP on the port is a failed handshake, not an exception."""
    with serving(None) as endpoint:
        report = check_targets([endpoint])
    assert codes(report) == ["handshake-failed"]
    assert report.findings[0].what == "no handshake: what answers speaks no TLS (plain HTTP?)"


def test_nobody_listens():
    """A refused connection is a finding with the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    report = check_endpoint(parse_endpoint(f"127.0.0.1:{port}"))
    assert "Connection refused" in report.findings[0].what


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("a.test:443", "a.test", 443), ("[::1]:8443", "::1", 8443), ("192.0.2.1:1", "192.0.2.1", 1)],
)
def test_endpoints(text, host, port):
    """HOST:PORT is parsed, with brackets around IPv6, and shown as it was written."""
    endpoint = parse_endpoint(text)
    assert (endpoint.host, endpoint.port, str(endpoint)) == (host, port, text)


@pytest.mark.parametrize("text", ["a.test", "a.test:", ":443", "::1:443", "a.test:0", "a:99999"])
def test_no_endpoints(text):
    """What is neither a file nor an endpoint is said so."""
    with pytest.raises(TLSConfigurationError, match="neither a file nor HOST:PORT"):
        parse_endpoint(text)


def test_command(write, tmp_path):
    """The command prints what it looked at and exits 0 for an A, 1 for findings."""
    leaf = _leaf()
    chain, key = write("c.pem", leaf.pem), write("k.pem", leaf.key_pem)
    ca = write("ca.pem", ROOT.pem)
    good = CliRunner().invoke(tls, ["check", chain, key, "--ca-certs", ca, "--host", "www.test"])
    assert good.exit_code == 0
    assert good.output.endswith("grade A: nothing to put right\n")
    os.chmod(key, 0o666)
    bad = CliRunner().invoke(tls, ["check", chain, key])
    assert bad.exit_code == 1
    assert "[C] key-readable" in bad.output
    assert f"fix: chmod 600 {key}" in bad.output


def test_command_json(write):
    """With --json the same report is one JSON object."""
    result = CliRunner().invoke(tls, ["check", write("c.pem", _leaf(end_days=-0.5).pem), "--json"])
    report = json.loads(result.output)
    assert result.exit_code == 1
    assert (report["grade"], report["reasons"]) == ("F", ["expired"])
    assert report["findings"][0]["fix"] == "renew it"


def test_command_with_a_password(write):
    """An encrypted key is matched when its password is given, line break and all."""
    leaf = _leaf()
    key = write("k.pem", pki.render_key(leaf.key, password=b"secret"))
    chain, password = write("c.pem", leaf.pem), write("pw", b"secret\n")
    result = CliRunner().invoke(tls, ["check", chain, key, "--key-password-file", password])
    assert result.exit_code == 0
    assert "private key, ECDSA secp256r1" in result.output


@pytest.mark.parametrize(
    "arguments",
    [["nowhere.pem"], ["127.0.0.1:1", "--ca-certs", "nowhere.pem"], []],
    ids=["target", "ca", "nothing"],
)
def test_command_usage(arguments):
    """A wrong argument is exit code 2 and one line."""
    result = CliRunner().invoke(tls, ["check", *arguments])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_what_a_certificate_says_cannot_forge_the_report(write):
    """Names from a certificate are escaped before they reach the terminal."""
    evil = pki.issue("x\n[F] forged\x1b[2J", issuer=INTERMEDIATE, names=["www.test"])
    report = check_files([write("c.pem", evil.pem)])
    assert all(line.isprintable() for line in report.render())


REFUSED_BY_BROWSERS = {
    "for clients": (
        lambda: pki.make_client(ROOT, "x", "localhost"),
        "not-for-servers",
        "server authentication, but only clients'",
    ),
    "no signatures": (
        lambda: pki.issue(
            "x", issuer=ROOT, names=["localhost"], kind="rsa", key_usage=["key_encipherment"]
        ),
        "key-usage",
        "does not allow digital signatures",
    ),
}


@pytest.mark.parametrize(
    ("make", "code", "words"), REFUSED_BY_BROWSERS.values(), ids=REFUSED_BY_BROWSERS
)
def test_what_browsers_refuse_is_said_at_start(tmp_path, caplog, make, code, words):
    """Whoever serves a certificate that every browser refuses is warned, in log and start lines."""
    contexts = build_contexts(pki.write_pair(tmp_path, make()))
    assert words in caplog.text
    assert any(line.startswith("warning: ") and words in line for line in start_lines(contexts))


def test_a_clients_pair_is_no_server_by_itself(tmp_path):
    """Where nobody says whose a client's certificate is, it has no defect, and a note."""
    report = check_files(pki.write_pair(tmp_path, pki.make_client(ROOT)).values())
    assert report.grade == "A"
    assert any("a client's certificate" in note for note in report.notes)


def test_a_further_name_alone_is_well(write):
    """The exit code says what is to be put right: a name that is not asked for is nothing."""
    path = write("chain.pem", pki.make_leaf(INTERMEDIATE, "a.test", "b.test").pem + ROOT.pem)
    well = ["check", write("c.pem", pki.make_leaf(INTERMEDIATE, "a.test", "b.test").pem)]
    well = CliRunner().invoke(tls, [*well, "--host", "a.test"])
    assert "name-unused" in well.output
    assert well.exit_code == 0
    other = CliRunner().invoke(tls, ["check", path, "--host", "a.test"])
    assert "root-included" in other.output
    assert other.exit_code == 1


def test_whom_a_missing_list_shuts_out_is_said(write):
    """Of two authorities only one has a list: the other's clients are named."""
    other = pki.make_ca("Other Root")
    paths = [write("ca.pem", ROOT.pem + other.pem), write("ca.crl", pki.make_crl(ROOT))]
    notes = "\n".join(check_files(paths).notes)
    assert 'no revocation list of "Other Root"' in notes
    assert 'no revocation list of "Test Root"' not in notes
    expired = check_files([paths[0], write("old.crl", pki.make_crl(other, end_days=-0.5))])
    assert 'list of "Other Root" expired' in expired.findings[0].what
