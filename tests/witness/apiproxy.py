"""A reverse proxy in front of the API server, for one operator process: it can stall, lose replies, count, and strike.

The operator talks plain HTTP to a loopback port, the proxy HTTPS to the API server, with the credentials of the
proxy's own kubeconfig: given one of the operator's ServiceAccount, RBAC is exercised as in a cluster. Every request
is written down. A test sets `on_write`, which is called twice for each write (POST, PUT, PATCH, DELETE): before it
is sent on, and after the API server has answered but before the operator hears of it. There it may kill the
operator, and by its return value let the request or the reply disappear. A write that was sent on is always carried
through, even if the operator dies meanwhile: a request that has left the machine can't be called back either.

Watches are streamed through chunk by chunk; `stall` holds these too, so a stalled operator sees nothing new.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import aiohttp
from aiohttp import web
from yarl import URL

from tests.witness.api import Api
from tests.witness.background import Background

WRITES = ("POST", "PUT", "PATCH", "DELETE")
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "proxy-authorization", "host")
)
When = Literal["before", "after"]
MAX_BODY_BYTES = 16 * 2**20


@dataclass
class Request:
    """One request of the operator; `status` is the API server's answer, None until there is one."""

    number: int
    method: str
    path: str
    at: float
    status: int | None = None

    @property
    def is_write(self) -> bool:
        """Changes the cluster; reviews of one's own rights are POSTs that change nothing."""
        return self.method in WRITES and "/apis/authorization.k8s.io/" not in self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


Strike = Callable[[Request, When], bool]
"""Called at a write; returns False to make the request (before) or its reply (after) disappear."""


class ApiProxy:
    """The proxy, on a free loopback port while it is entered as a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        self._upstream_kubeconfig = kubeconfig
        self._background = Background("apiproxy")
        self._may_pass = threading.Event()
        self._may_pass.set()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._stalled_at: float | None = None
        self.stalls: list[tuple[float, float]] = []
        """Those that are over, each from when to when."""
        self.on_write: Strike | None = None
        self.port = 0
        self._writing: set[asyncio.Future[web.StreamResponse]] = set()

    def __enter__(self) -> ApiProxy:
        self._background.call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._background.call(self._stop())
        self._background.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Everything that came so far, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def writes(self) -> list[Request]:
        """The writes among the requests."""
        return [request for request in self.requests if request.is_write]

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads through the proxy; what its user claims to be doesn't matter."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxied", "cluster": {"server": self.url}}],
            "users": [{"name": "proxied", "user": {"token": "none: the proxy brings the credentials"}}],
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "proxied"}}],
            "current-context": "proxied",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def stall(self) -> None:
        """Hold every request and every byte of every watch until `release`."""
        with self._lock:
            self._stalled_at = self._stalled_at or time.time()
            self._may_pass.clear()

    def release(self) -> None:
        """Let everything pass again."""
        with self._lock:
            self._may_pass.set()
            if self._stalled_at is not None:
                self.stalls.append((self._stalled_at, time.time()))
            self._stalled_at = None

    async def _start(self) -> None:
        self._api = await Api.from_kubeconfig(self._upstream_kubeconfig)
        self._session = self._api.session(decompress=False)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        with self._lock:
            request = Request(len(self._requests) + 1, incoming.method, incoming.path, time.time())
            self._requests.append(request)
        await self._pass()
        try:
            if not request.is_write:
                return await self._stream(incoming, request)
            writing = asyncio.ensure_future(self._write(incoming, request, await incoming.read()))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
            return await asyncio.shield(writing)
        except aiohttp.ClientError:
            return _cut(incoming)  # the API server is away: to the operator it looks just like that

    async def _write(self, incoming: web.Request, request: Request, body: bytes) -> web.StreamResponse:
        if not await self._strike(request, "before"):
            return _cut(incoming)
        async with self._send(incoming, body) as answer:
            payload = await answer.read()
            request.status = answer.status
        passes = await self._strike(request, "after")
        await self._pass()
        if not passes:
            return _cut(incoming)
        return web.Response(status=answer.status, body=payload, headers=_forwarded(answer.headers))

    async def _stream(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        body = await incoming.read() if incoming.can_read_body else None  # a review of one's own rights is a POST
        async with self._send(incoming, body) as answer:
            request.status = answer.status
            outgoing = web.StreamResponse(status=answer.status, headers=_forwarded(answer.headers))
            await outgoing.prepare(incoming)
            async for chunk in answer.content.iter_any():
                await self._pass()
                await outgoing.write(chunk)
            await outgoing.write_eof()
            return outgoing

    def _send(self, incoming: web.Request, body: bytes | None) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = _forwarded(incoming.headers)
        headers.pop("Authorization", None)
        return self._session.request(
            incoming.method,
            URL(f"{self._api.server}{incoming.raw_path}", encoded=True),
            data=body,
            headers=headers,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept"),
            allow_redirects=False,
        )

    async def _strike(self, request: Request, when: When) -> bool:
        if self.on_write is None:
            return True
        return await asyncio.to_thread(self.on_write, request, when)

    async def _pass(self) -> None:
        while not self._may_pass.is_set():
            await asyncio.sleep(0.02)


def _cut(incoming: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=502)


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in HOP_BY_HOP and name.lower() != "content-length"
    }
