"""A proxy in front of a real S3 server that understands each request, counts it, and brings trouble where a test says.

Everything passes unless a plan matches it. What a plan does is one of the troubles in `tests.witness.troubles`: a
coroutine that is given the exchange and decides what the server and what the client get to see of it. The server
behind is a real one, so what it makes of half a request is its own answer, not ours.

Why not a tool: toxiproxy works on bytes and knows no requests, so it can neither hit the second PUT of the log nor
count; mitmproxy hands on whole, mended messages, brings thirty packages, and can't send a short body or a reset.

Messages are read as a whole before they are sent on (they have at most 32 MiB here), so an answer that a server gives
before it has read a request is not shown: that is tested without the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.witness.background import Background

LIMIT = 1 << 20
"""Bytes of a head, and how much is read at once."""
BODILESS = (204, 304)


@dataclass(frozen=True)
class Request:
    """What the client asked, once it has arrived as a whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes = field(repr=False)
    at: float = 0.0

    @property
    def key(self) -> str:
        """The object's key in its bucket; of a LIST its prefix, of a bulk DELETE the first key."""
        parts = urlsplit(self.target)
        asked = parse_qs(parts.query, keep_blank_values=True)
        if "prefix" in asked:
            return asked["prefix"][0]
        if "delete" in asked:
            named = re.search(rb"<Key>([^<]+)</Key>", self.body)
            return "" if named is None else named[1].decode()
        return unquote(parts.path).lstrip("/").partition("/")[2]

    @property
    def verb(self) -> str:
        """The method, or LIST; DELETE also for a bulk one, which is a POST."""
        asked = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return "LIST" if "list-type" in asked else "DELETE" if "delete" in asked else self.method

    @property
    def kind(self) -> str:
        """For counting: the verb, and in which part of a store: `PUT log`, `GET format.json`, `LIST log`."""
        parts = self.key.rstrip("/").split("/")
        part = next((part for part in reversed(parts) if part in PARTS), "?")
        return f"{self.verb} {part}"


PARTS = ("format.json", "log", "packs", "manifests", "parts", "probe")


@dataclass(frozen=True)
class Answer:
    """What the server said; `head` and `body` are its bytes, the body without its framing."""

    status: int
    head: bytes
    body: bytes = field(repr=False)

    def replaced(self, body: bytes, length: int | None = None) -> Answer:
        """The same head with another body; `length` is what its Content-Length claims, if not the truth."""
        claimed = len(body) if length is None else length
        lines = [line for line in self.head.split(b"\r\n") if line and not line.lower().startswith(_FRAMING)]
        return Answer(self.status, b"\r\n".join([*lines, b"Content-Length: %d" % claimed, b"", b""]), body)


_FRAMING = (b"content-length:", b"transfer-encoding:")

Trouble = Callable[["Exchange"], Awaitable[None]]


@dataclass(eq=False)
class Plan:
    """Which requests meet a trouble."""

    trouble: Trouble
    verb: str
    part: str
    times: int | None
    spare: int
    met: int = 0
    """How many requests met it so far: a test asserts that there was any trouble at all."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when the first request meets it."""

    def takes(self, request: Request) -> bool:
        """Whether this request is one of them."""
        if self.verb not in ("", request.verb) or self.part not in request.key:
            return False
        if self.spare > 0:
            self.spare -= 1
            return False
        if self.times is not None and self.met >= self.times:
            return False
        self.met += 1
        self.arrived.set()
        return True


class FaultProxy:
    """The proxy, on a free loopback port while it is entered as a context manager."""

    def __init__(self, endpoint: str) -> None:
        address = urlsplit(endpoint)
        assert address.hostname is not None
        self._upstream = (address.hostname, address.port or 80)
        self._background = Background("faultproxy")
        self._plans: list[Plan] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        """Everything that arrived as a whole, in its order."""
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._background.call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.call(self._stop())
        self._background.close()

    def plan(self, trouble: Trouble, verb: str = "", part: str = "", *, times: int | None = 1, spare: int = 0) -> Plan:
        """Let the next `times` requests (None: all) of this verb, with `part` in their key, meet `trouble`.

        The first `spare` of them pass. Of several plans that match, the earliest with times left acts.
        """
        plan = Plan(trouble, verb, part, times, spare)
        self._plans.append(plan)
        return plan

    def relent(self) -> None:
        """No more trouble."""
        self._plans.clear()

    def count(self) -> Counter[str]:
        """How many requests of each kind came since the last call."""
        counted = Counter(request.kind for request in self.requests)
        self.requests.clear()
        return counted

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LIMIT)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        client = Connection(reader, writer)
        server = Upstream(self._upstream)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while (request := await read_request(client)) is not None:
                    self.requests.append(request)
                    exchange = Exchange(request, client, server)
                    plan = next((plan for plan in self._plans if plan.takes(request)), None)
                    if plan is None:
                        await exchange.answer(await exchange.forward())
                    else:
                        await plan.trouble(exchange)
                    if client.writer.is_closing():
                        break
        except asyncio.CancelledError:
            pass  # the proxy closes; asyncio would report the end of a connection's task as an error
        finally:
            client.reset()
            server.reset()
            self._tasks.discard(task)


class Exchange:
    """One request on its way, as a trouble sees it."""

    def __init__(self, request: Request, client: Connection, server: Upstream) -> None:
        self.request = request
        self._client, self._server = client, server

    async def forward(self) -> Answer:
        """Let the server do it; what it says. Raises OSError when the server can't be reached."""
        return await self._server.ask(self.request)

    async def forward_cut(self, length: int) -> None:
        """Send the head and `length` bytes of the body to the server, then vanish."""
        await self._server.send(self.request.head + self.request.body[:length])
        self._server.reset()

    async def answer(self, answer: Answer) -> None:
        """Tell the client."""
        await self._client.send(answer.head + answer.body)

    async def answer_slowly(self, answer: Answer, slice_bytes: int, pause: float) -> None:
        """Tell the client, `slice_bytes` at a time; ends when it hangs up."""
        whole = answer.head + answer.body
        for start in range(0, len(whole), slice_bytes):
            await self._client.send(whole[start : start + slice_bytes])
            await asyncio.sleep(pause)

    async def client_left(self) -> None:
        """Wait until the client hangs up."""
        with contextlib.suppress(OSError):
            while await self._client.reader.read(LIMIT):
                pass

    def hang_up(self) -> None:
        """End the connection to the client in good order."""
        self._client.writer.close()

    def reset(self) -> None:
        """Break the connection to the client: it sees 'connection reset by peer'."""
        self._client.reset()


@dataclass(eq=False)
class Connection:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a TCP reset, dropping what is on its way."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Upstream:
    """The way to the server: one connection, made when it is needed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._connection: Connection | None = None

    async def ask(self, request: Request) -> Answer:
        await self.send(request.head + request.body)
        assert self._connection is not None
        try:
            return await read_answer(self._connection, request.method)
        except (OSError, asyncio.IncompleteReadError):
            self.reset()
            raise

    async def send(self, data: bytes) -> None:
        if self._connection is None or self._connection.reader.at_eof():
            self._connection = Connection(*await asyncio.open_connection(*self._address, limit=LIMIT))
        try:
            await self._connection.send(data)
        except OSError:
            self.reset()
            raise

    def reset(self) -> None:
        if self._connection is not None:
            self._connection.reset()
            self._connection = None


# --- HTTP/1.1, as far as S3 clients and servers speak it -------------------------------------------------------------
async def read_request(client: Connection) -> Request | None:
    """The next request; None when the client has hung up between two."""
    try:
        head = await client.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, headers = _parse(head)
    method, target, _ = first.split(" ", 2)
    if headers.get("expect", "").lower() == "100-continue":
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
    framed, _ = await _read_body(client.reader, headers, until_the_end=False)
    return Request(method, target, headers, head, framed, time.monotonic())


async def read_answer(server: Connection, method: str) -> Answer:
    """The answer to a request of this method; 1xx are passed over, a chunked body becomes a plain one."""
    while True:
        head = await server.reader.readuntil(b"\r\n\r\n")
        first, headers = _parse(head)
        status = int(first.split(" ", 2)[1])
        if status >= 200:
            break
    if method == "HEAD" or status in BODILESS:
        return Answer(status, head, b"")
    _, body = await _read_body(server.reader, headers, until_the_end=True)
    answer = Answer(status, head, body)
    return answer if "content-length" in headers else answer.replaced(body)


def _parse(head: bytes) -> tuple[str, Mapping[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(
    reader: asyncio.StreamReader, headers: Mapping[str, str], *, until_the_end: bool
) -> tuple[bytes, bytes]:
    """A body as it came and as it is meant: these differ where it was chunked."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        framed, plain = bytearray(), bytearray()
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            chunk = await reader.readexactly(size + 2) if size else b""
            framed += line + chunk
            plain += chunk[:-2]
            if not size:
                while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                    framed += trailer
                return bytes(framed + b"\r\n"), bytes(plain)
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read() if until_the_end else b""
    return body, body
