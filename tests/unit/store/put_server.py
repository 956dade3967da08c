"""A server of S3 that takes PUTs over real sockets, checks CRC-64/NVME, and does what a test tells it to instead."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from awscrt.checksums import crc64nvme

from tests.unit.store.speaking_server import SpeakingServer, name_it
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.store.calls import Budget, Calls
from waypost.store.seams import Seams

Act = Callable[["Request"], None]


class Request:
    """One PUT, of which only the head has been read."""

    def __init__(self, client: socket.socket, head: str, early: bytes) -> None:
        self.client, self.early = client, early
        first, *lines = head.split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.length = int(self.headers.get("content-length", "0"))

    @property
    def is_direct(self) -> bool:
        """Whether it came by Waypost's own client, which signs no body and says a checksum."""
        return "x-amz-checksum-crc64nvme" in self.headers and "user-agent" not in self.headers

    def read(self, size: int | None = None) -> bytes:
        """So much of the body, or what is left; less where the connection ends."""
        wanted = self.length if size is None else size
        body = bytearray(self.early[:wanted])
        self.early = self.early[wanted:]
        with contextlib.suppress(ConnectionError):
            while len(body) < wanted and (got := self.client.recv(min(1 << 20, wanted - len(body)))):
                body += got
        self.length -= len(body)
        return bytes(body)

    def says(self, status: str, body: str = "") -> None:
        """Answers."""
        raw = body.encode()
        self.client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\nETag: x\r\n\r\n".encode() + raw)

    def fails(self, status: str, code: str) -> None:
        """Reads all of it, and refuses."""
        self.read()
        self.says(status, f"<Error><Code>{code}</Code><Message>so it is</Message></Error>")

    @property
    def told(self) -> int | None:
        """The checksum in its head."""
        value = self.headers.get("x-amz-checksum-crc64nvme")
        return None if value is None else int.from_bytes(base64.b64decode(value), "big")


class PutServer(SpeakingServer):
    """Keeps what it is given, by path."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.acts: list[Act] = []
        """For the next requests, in place of taking them."""
        super().__init__()

    def answer(self, client: socket.socket, head: bytes, early: bytes) -> None:
        """As it is told for this request, or as a server does."""
        request = Request(client, head.decode(), early)
        self.requests.append(request)
        act = self.acts.pop(0) if self.acts else self.take
        act(request)

    def take(self, request: Request) -> None:
        """Does what a server does that checks."""
        body = request.read()
        if request.length:
            raise ConnectionAbortedError
        if request.told is not None and crc64nvme(body) != request.told:
            request.says("400 Bad Request", "<Error><Code>BadDigest</Code><Message>no</Message></Error>")
            return
        self.objects[request.path] = body
        request.says("200 OK")

    def hold_little(self) -> None:
        """From now on a connection's socket holds few bytes that nobody has read."""
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)


@contextlib.contextmanager
def put_server(patch: pytest.MonkeyPatch) -> Iterator[PutServer]:
    """The server that the environment names, with credentials."""
    server = PutServer()
    name_it(patch, server)
    yield server
    server.close()


def calls_to(backend: ObjectStoreBackend) -> Calls:
    """The store's calls to it, that wait little."""
    return Calls(backend, Seams(), Budget(seconds=5.0, first_pause=0.01))
