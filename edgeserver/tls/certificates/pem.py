"""The blocks of a PEM file, or why it is not one, in words.

Decides how a file is read (once, bounded) and how its blocks are told apart. It does not decide
what a listener needs: `material` does.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from dataclasses import dataclass

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = [
    "MAX_PEM_BYTES",
    "PemBlock",
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

    Raises:
        ValueError: A block has a BEGIN but no END of the same label: the file is cut short.

    Source: RFC 7468 section 2, and OpenSSL's reader for what stands around the blocks.
    """
    blocks: list[PemBlock] = []
    started: list[bytes] = []
    label = b""
    begun_at = 0
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        text = line.strip()
        if not label:
            if text.startswith(_BEGIN) and text.endswith(_DASHES) and len(text) > 16:
                label, begun_at, started = text[len(_BEGIN) : -len(_DASHES)], number, [text]
            continue
        if text.startswith(_BEGIN):
            break
        started.append(text)  # an empty line, too: it ends the headers of an encrypted key
        if text == _END + label + _DASHES:
            pem = b"\n".join(started) + b"\n"
            blocks.append(PemBlock(label.decode("latin-1"), pem, begun_at))
            label = b""
    if label:
        raise ValueError(
            f'the block "{escape(label, 40)}" that starts on line {begun_at} has no END line: '
            "the file is cut short, or is being written"
        )
    return blocks


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
    if labels:
        return "it holds " + ", ".join(escape(label, 40) for label in sorted(labels)[:5])
    if data[:1] == b"\x30":
        return (
            "it is binary (DER or PKCS #12), not PEM: convert it with `openssl x509 -inform DER "
            "-in FILE -out cert.pem`, or `openssl pkcs12 -in FILE -out both.pem -noenc`"
        )
    return "no PEM block (-----BEGIN ...-----) is in it"
