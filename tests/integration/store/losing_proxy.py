"""A TCP proxy in front of an S3 server that loses answers: the server did what it was asked, and nobody hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class LosingProxy:
    """Forwards everything, but cuts the connection instead of answering the next `lose` requests that match."""

    def __init__(self, endpoint: str, *marks: bytes) -> None:
        address = urlsplit(endpoint)
        assert address.hostname is not None
        self._server = (address.hostname, address.port or 80)
        self._marks = marks
        self.lose = 0
        self.requests: list[bytes] = []
        """The head of every request."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            _cut(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            losing = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, losing), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server, losing), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                head = data.partition(b"\r\n\r\n")[0]
                if head[:4] in (b"GET ", b"PUT ", b"DELE"):
                    self.requests.append(head)
                    if self.lose and all(mark in head.partition(b"\r\n")[0] for mark in self._marks):
                        self.lose -= 1
                        losing.set()
                server.sendall(data)
        _cut(server)

    def _answer(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(1 << 20)) and not losing.is_set():
                client.sendall(data)
        _cut(client)
        _cut(server)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
