"""The blocks of a PEM file, or why it is not one, in words.

Decides how a file is read (once, bounded) and how its blocks are told apart. It does not decide
what a listener needs: `material` does.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = [
    "MAX_PEM_BYTES",
    "PemBlock",
    "PemError",
    "TLSFileError",
    "describe_content",
    "load_file",
    "parse_pem",
]

MAX_PEM_BYTES = 32 * 1024 * 1024
"""No certificate, key or CRL file is larger; a path to a device or a log may be."""

_BEGIN = b"-----BEGIN "
_END = b"-----END "
_DASHES = b"-----"


class PemError(ValueError):
    """What is wrong with a file as PEM, and the fix."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: {fix}")
        self.what = what
        self.fix = fix


class TLSFileError(TLSConfigurationError):
    """A file that cannot be used, in one sentence.

    Args:
        where: The option and the path, such as `certfile "server.pem"`.
        what: What is wrong, with what stands between it and `where`: a space or a colon.
        fix: What to do about it; empty where `what` says it.

    Attributes:
        what: What is wrong, alone.
        fix: What to do about it.
    """

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        super().__init__(f"{where}{what}" + (f": {fix}" if fix else ""))
        self.what = what.lstrip(": ")
        self.fix = fix


@dataclass(frozen=True, slots=True)
class PemBlock:
    """One block of a PEM file.

    Args:
        label: What it says it is, such as `CERTIFICATE`.
        pem: The block as it stands in the file, from BEGIN to END.
        line: The line of its BEGIN, from 1.
    """

    label: str
    pem: bytes
    line: int

    @property
    def is_certificate(self) -> bool:
        """Whether it is a certificate (also under OpenSSL's older label)."""
        return self.label in ("CERTIFICATE", "X509 CERTIFICATE")

    @property
    def is_key(self) -> bool:
        """Whether it is a private key."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_crl(self) -> bool:
        """Whether it is a certificate revocation list."""
        return self.label == "X509 CRL"

    def der(self) -> bytes:
        """Return the content as DER.

        Raises:
            ValueError: The base64 is damaged.
        """
        lines = self.pem.splitlines()[1:-1]
        try:
            return base64.b64decode(b"".join(lines), validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None


def load_file(path: str, key: str) -> bytes:
    """Read the file that `ssl_options[key]` names, whole.

    Raises:
        TLSConfigurationError: It cannot be read. A missing file has Tornado's message.
    """
    where = f'{key} "{path}"'
    try:
        data = read_file(path, MAX_PEM_BYTES)
    except OSError as error:
        raise TLSFileError(where, *_explain_os_error(error)) from None
    if len(data) > MAX_PEM_BYTES:
        size = f"{MAX_PEM_BYTES >> 20} MiB"
        raise TLSFileError(
            where, f" is larger than {size}, which no such file is", "is this the right path?"
        )
    return data


def _explain_os_error(error: OSError) -> tuple[str, str]:
    """Return what is wrong, and the fix."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return " does not exist", ""
    if error.errno == errno.EISDIR:
        return " is a directory", "name the file in it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f" may not be read by this process (user id {os.geteuid()})",
            "give that user or one of its groups the right to read the file and enter its "
            "directories",
        )
    return f" cannot be read: {error.strerror or error}", ""


def parse_pem(data: bytes) -> list[PemBlock]:
    """Split a PEM file into its blocks; text around them is a comment.

    A block may begin on the line on which another one ends, as where a file without a line break at
    its end was joined to another one.

    Raises:
        PemError: The line breaks are not line breaks, or a block has a BEGIN but no END of the same
            label: the file is cut short.

    Source: RFC 7468 section 2, and OpenSSL's reader for what stands around the blocks.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise PemError(
            "it is UTF-16, as PowerShell writes text",
            "write it again as ASCII, with `Set-Content -Encoding ascii`",
        )
    blocks: list[PemBlock] = []
    started: list[bytes] = []
    label = b""
    begun_at = 0
    for number, text in _lines(data.removeprefix(b"\xef\xbb\xbf")):
        if not label:
            if text.startswith(_BEGIN) and text.endswith(_DASHES) and len(text) > 16:
                label, begun_at, started = text[len(_BEGIN) : -len(_DASHES)], number, [text]
                _refuse_flattened(label, number)
            elif text.startswith(_BEGIN):
                _refuse_flattened(text[len(_BEGIN) :], number)
            continue
        if text.startswith(_BEGIN):
            break
        started.append(text)  # an empty line, too: it ends the headers of an encrypted key
        if text == _END + label + _DASHES:
            pem = b"\n".join(started) + b"\n"
            blocks.append(PemBlock(label.decode("latin-1"), pem, begun_at))
            label = b""
    if label:
        raise PemError(
            f'the block "{escape(label, 40)}" that starts on line {begun_at} has no END line',
            "the file is cut short, or is being written: copy or fetch it again",
        )
    return blocks


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each line and its number; one that ends a block and begins another is two."""
    for number, line in enumerate(data.splitlines(), 1):
        text = line.strip()
        end, joined, rest = text.partition(_DASHES + _BEGIN)
        while joined and end.startswith(_END):
            yield number, end + _DASHES
            text = _BEGIN + rest
            end, joined, rest = text.partition(_DASHES + _BEGIN)
        yield number, text


def _refuse_flattened(label: bytes, number: int) -> None:
    """Refuse a BEGIN line on which more stands: a file whose line breaks were lost on the way.

    Source: RFC 7468 section 3: two hyphens in a row cannot stand in a label.
    """
    _, dashes, rest = label.partition(_DASHES)
    if not dashes or not rest:
        return
    if rest.startswith((b"\\n", b"\\r")):
        lost = "are written as the two characters \\n, as in an environment variable or JSON"
        fix = "write real ones, such as with `printf '%b' \"$PEM\" > FILE`"
    elif rest[:1] in b" \t":
        lost = "have become spaces, as a shell makes of a variable without quotes"
        fix = "write it with quotes, such as `printf '%s\\n' \"$PEM\" > FILE`"
    else:
        lost = "are missing"
        fix = "copy or fetch the file again"
    raise PemError(f"the line breaks of the block on line {number} {lost}", fix)


def describe_content(data: bytes, blocks: list[PemBlock]) -> str:
    """Say what a file holds that should hold something else, with the fix where one is known."""
    if not data.strip():
        return "the file is empty"
    labels = {block.label for block in blocks}
    if any(block.is_certificate for block in blocks):
        return "it holds a certificate"
    if any(block.is_key for block in blocks):
        return "it holds a private key"
    if "CERTIFICATE REQUEST" in labels or "NEW CERTIFICATE REQUEST" in labels:
        return "it holds a signing request (CSR): the authority answers it with the certificate"
    if "TRUSTED CERTIFICATE" in labels:
        return (
            "it holds OpenSSL's own TRUSTED CERTIFICATE form: "
            "convert it with `openssl x509 -in FILE -out cert.pem`"
        )
    if "PKCS7" in labels:
        return (
            "it holds PKCS #7: convert it with `openssl pkcs7 -in FILE -print_certs -out cert.pem`"
        )
    if "PUBLIC KEY" in labels or "RSA PUBLIC KEY" in labels:
        return "it holds a public key: the private one is in the file that was made with it"
    if labels == {"EC PARAMETERS"} or labels == {"DH PARAMETERS"}:
        return "it holds parameters alone: the key that was made with them is in another file"
    if labels:
        return "it holds " + ", ".join(escape(label, 40) for label in sorted(labels)[:5])
    if data[:4] in (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"):
        return (
            "it is a Java keystore: export it with `keytool -importkeystore -srckeystore FILE "
            "-destkeystore both.p12 -deststoretype pkcs12`, and that with `openssl pkcs12 -in "
            "both.p12 -out both.pem -noenc`"
        )
    if data[:1] == b"\x30":
        return (
            "it is binary (DER or PKCS #12), not PEM: convert it with `openssl x509 -inform DER "
            "-in FILE -out cert.pem`, or `openssl pkcs12 -in FILE -out both.pem -noenc`"
        )
    return "no PEM block (-----BEGIN ...-----) is in it; name a PEM file"
