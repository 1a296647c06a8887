"""Handshakes in memory for tests: two OpenSSL objects, joined by their BIOs."""

from __future__ import annotations

import ssl

__all__ = ["ReloadOutcome", "shake_hands"]


class ReloadOutcome:
    """Both ends of a handshake in memory; talking on is possible with `exchange`."""

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        *,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(self.to_server, self.to_client, server_side=True)
        self.client = client.wrap_bio(
            self.to_client, self.to_server, server_hostname=name, session=session
        )

    def run(self) -> ReloadOutcome:
        """Shake hands, and carry one message each way so that tickets and alerts arrive."""
        left = [self.client, self.server]
        for _ in range(10):
            for end in tuple(left):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                left.remove(end)
        assert not left
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            sender.write(b"hello")
            assert receiver.read(5) == b"hello"
        return self


def shake_hands(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    *,
    name: str | None = None,
    session: ssl.SSLSession | None = None,
) -> ReloadOutcome:
    """Shake hands in memory.

    Raises:
        ssl.SSLError: One of the two refuses.
    """
    return ReloadOutcome(server, client, name=name, session=session).run()
