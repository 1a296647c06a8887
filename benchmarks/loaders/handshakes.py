r"""TLS handshakes: connections of one request each, that the server closes.

    python -m benchmarks.loaders.handshakes PORT --seconds 2 --connections 8 --request FILE \
        [--resume]

Holds every connection to TLS 1.3 and the cipher, to an answer, and to the kind of handshake that is
asked for. Certificates are not verified: `benchmarks.checks` has done that, and here it would only
take time from the core that loads.
"""

from __future__ import annotations

import select
import socket
import ssl
import time

from benchmarks.loaders import common

# What OpenSSL prefers when nobody chooses: all servers are to encrypt the same way.
CIPHER = "TLS_AES_256_GCM_SHA384"
HOST_NAME = "www.example.com"


def client_context(ca: str | None = None) -> ssl.SSLContext:
    """Return a context for TLS 1.3, which trusts the authority in `ca`, or anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    return context


class Client:
    """One connection at a time, each with the session that the one before it was given."""

    def __init__(self, port: int, request: bytes, context: ssl.SSLContext, resume: bool) -> None:
        self._address = (common.HOST, port)
        self._request = request
        self._context = context
        self._resume = resume
        self._session: ssl.SSLSession | None = None
        self._next_session: ssl.SSLSession | None = None

    def connect(self) -> int:
        """Begin a connection, and return its file descriptor."""
        self.began_s = time.perf_counter()
        plain = socket.create_connection(self._address, timeout=common.STALL_SECONDS)
        plain.setblocking(False)
        self._socket = self._context.wrap_socket(
            plain,
            server_hostname=HOST_NAME,
            do_handshake_on_connect=False,
            session=self._session,
        )
        self._shaken = False
        self._answer = b""
        self.advance()
        return self._socket.fileno()

    def advance(self) -> bool:
        """Go on as far as the bytes that are there allow; return whether the server has closed."""
        try:
            if not self._shaken:
                self._socket.do_handshake()
                self._shaken = True
                self._socket.send(self._request)
            while piece := self._socket.recv(16384):
                if self._resume and not self._answer:
                    # The tickets came before the answer. At the end it would be too late: where the
                    # server sends no close_notify, OpenSSL takes the session for a broken one.
                    self._next_session = self._socket.session
                self._answer += piece
        except ssl.SSLWantReadError:
            return False
        self._finish()
        return True

    def _finish(self) -> None:
        """Hold the connection to what was asked for.

        Raises:
            SystemExit: It was something else.
        """
        here = self._socket
        if not self._answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered {self._answer[:80]!r}")
        cipher = here.cipher()
        if cipher is None or cipher[:2] != (CIPHER, "TLSv1.3"):
            raise SystemExit(f"negotiated {cipher}, not {CIPHER} of TLSv1.3")
        if bool(here.session_reused) is not (self._session is not None):
            raise SystemExit(
                f"the session was {'' if here.session_reused else 'not '}resumed, unlike asked"
            )
        self._session = self._next_session
        here.close()


def main() -> None:
    parser = common.parser(__doc__.partition("\n")[0])
    parser.add_argument("--resume", action="store_true", help="with the last connection's session")
    options = parser.parse_args()
    request, context = options.request.read_bytes(), client_context()
    clients = [
        Client(options.port, request, context, options.resume) for _ in range(options.connections)
    ]
    if options.resume:
        for client in clients:  # each needs a session to begin with; this one is not counted
            _until_closed(client)
    tally = common.Tally(options.seconds)
    epoll = select.epoll()
    open_clients: dict[int, Client] = {}

    def begin(client: Client) -> None:
        number = client.connect()
        open_clients[number] = client
        epoll.register(number, select.EPOLLIN)

    for client in clients:
        begin(client)
    while open_clients:
        ready = epoll.poll(common.STALL_SECONDS)
        if not ready:
            raise SystemExit(f"no answer for {common.STALL_SECONDS:.0f} s")
        for number, _ in ready:
            client = open_clients[number]
            if not client.advance():
                continue
            del open_clients[number]  # epoll forgets what is closed
            tally.count(client.began_s)
            if not tally.is_over():
                begin(client)
    tally.report()


def _until_closed(client: Client) -> None:
    number = client.connect()
    with select.epoll() as epoll:
        epoll.register(number, select.EPOLLIN)
        while not client.advance():
            if not epoll.poll(common.STALL_SECONDS):
                raise SystemExit(f"no answer for {common.STALL_SECONDS:.0f} s")


if __name__ == "__main__":
    common.run(main)
