"""A real socket on loopback whose every word is a test's: what the client of Waypost's own is tried on."""

from __future__ import annotations

import abc
import contextlib
import socket
import ssl
import threading

import pytest


class SpeakingServer(abc.ABC):
    """Takes connections, each in a thread of its own, over TLS if there is a context for it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it is."""
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self.listening.getsockname()[1]}"

    @abc.abstractmethod
    def answer(self, client: socket.socket, head: bytes, early: bytes) -> None:
        """Say something to a request, of which `early` has come behind its head. Raises OSError to hang up."""

    def close(self) -> None:
        """Takes no connections any more."""
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._context is None:
                self._converse(client)
            else:
                with self._context.wrap_socket(client, server_side=True) as secret:
                    self._converse(secret)

    def _converse(self, client: socket.socket) -> None:
        while True:
            received = b""
            while b"\r\n\r\n" not in received:
                if not (got := client.recv(65536)):
                    return
                received += got
            head, _, early = received.partition(b"\r\n\r\n")
            self.answer(client, head, early)


def name_it(patch: pytest.MonkeyPatch, server: SpeakingServer) -> None:
    """The environment names this server, with credentials, and no proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        patch.delenv(name, raising=False)
        patch.delenv(name.upper(), raising=False)
    patch.setenv("AWS_ENDPOINT_URL", server.address)
    patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_REGION", "us-east-1")
