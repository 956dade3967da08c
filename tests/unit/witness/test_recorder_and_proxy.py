"""The recorder and the proxy against a small stand-in for an API server, which misbehaves on request.

The stand-in speaks just enough LIST and WATCH; the real API server meets both in the integration and e2e tests.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.witness.apiproxy import ApiProxy, Request
from tests.witness.background import Background
from tests.witness.recorder import KINDS, Recorder
from waypost import contract


class SmallApi:
    """Pods with a resourceVersion, LIST, and WATCH that can answer 410 or be cut in the middle of a line."""

    def __init__(self) -> None:
        self.version, self.changes = 1, list[dict[str, Any]]()
        self.gone = False
        self.cut_in_a_line = False
        self.bodies: list[bytes] = []
        self.background = Background("small-api")
        self.background.call(self._start())

    def pod(self, name: str, phase: str, event: str = "MODIFIED") -> None:
        self.version += 1
        pod = {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "resourceVersion": str(self.version),
                "labels": {contract.LABEL_TASK_UID: "task", contract.LABEL_ATTEMPT: name.rpartition("-")[2]},
            },
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": phase},
        }
        self.changes.append({"type": event, "object": pod})

    def kubeconfig(self, path: Path) -> Path:
        config = {
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "a", "user": {"token": "secret-of-the-operator"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        path.write_text(json.dumps(config))
        return path

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/ns/pods", self._pods)
        for kind, path in KINDS.items():
            if kind != "Pod":
                app.router.add_get(path.format("ns"), self._nothing)
        app.router.add_post("/api/v1/namespaces/ns/pods", self._create)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            newest: dict[str, dict[str, Any]] = {}
            for change in self.changes:
                newest[change["object"]["metadata"]["name"]] = change["object"]
                if change["type"] == "DELETED":
                    del newest[change["object"]["metadata"]["name"]]
            return _page(list(newest.values()), self.version)
        version = int(request.query["resourceVersion"])
        if self.gone:
            self.gone = False
            return web.json_response({"kind": "Status", "code": 410}, status=410)
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            for change in self.changes:
                if int(change["object"]["metadata"]["resourceVersion"]) > version:
                    line = json.dumps(change).encode() + b"\n"
                    if self.cut_in_a_line:
                        self.cut_in_a_line = False
                        await stream.write(line[:40])
                        assert request.transport is not None
                        request.transport.close()
                        return stream
                    await stream.write(line)
                    version = int(change["object"]["metadata"]["resourceVersion"])
            if self._has_forgotten():
                return stream
            await asyncio.sleep(0.01)

    def _has_forgotten(self) -> bool:
        return self.gone

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(3600)
        return _page([], 1)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer secret-of-the-operator"
        self.bodies.append(await request.read())
        return web.json_response({"kind": "Pod"}, status=201)

    def close(self) -> None:
        self.background.call(self.runner.cleanup())
        self.background.close()


def _page(items: list[dict[str, Any]], version: int) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": items})


@pytest.fixture
def api() -> Iterator[SmallApi]:
    server = SmallApi()
    yield server
    server.close()


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def test_every_version_is_written_once_though_the_watch_is_cut_in_the_middle_of_a_line(
    api: SmallApi, tmp_path: Path
) -> None:
    file = tmp_path / "pods.jsonl"
    with Recorder(api.kubeconfig(tmp_path / "config"), "ns", file) as recorder:
        api.pod("train-1", "Pending", "ADDED")
        until(lambda: recorder.history().pods)
        api.cut_in_a_line = True
        api.pod("train-1", "Running")
        api.pod("train-1", "Succeeded")
        until(lambda: recorder.history().pods["uid-train-1"].phase == "Succeeded")
    versions = [
        json.loads(line)["object"]["metadata"]["resourceVersion"]
        for line in file.read_text().splitlines()
        if json.loads(line)["type"] != "LIST"
    ]
    assert versions == ["2", "3", "4"]


def test_what_vanished_while_the_watch_was_gone_for_good_is_found_by_a_new_list(api: SmallApi, tmp_path: Path) -> None:
    with Recorder(api.kubeconfig(tmp_path / "config"), "ns", tmp_path / "pods.jsonl") as recorder:
        api.pod("train-1", "Running", "ADDED")
        until(lambda: recorder.history().pods)
        api.changes = []
        api.gone = True  # ends this watch; the next one is answered 410, and no DELETED is ever sent
        until(lambda: recorder.history().pods["uid-train-1"].gone)
        api.pod("train-2", "Running", "ADDED")
        until(lambda: len(recorder.history().pods) == 2)
        assert recorder.history().overlaps == []


def post(url: str, body: bytes = b"{}") -> int:
    request = urllib.request.Request(f"{url}/api/v1/namespaces/ns/pods?fieldManager=a%2Fb", body, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_the_proxy_hands_through_reads_writes_and_watches_with_its_own_credentials(
    api: SmallApi, tmp_path: Path
) -> None:
    with ApiProxy(api.kubeconfig(tmp_path / "config")) as proxy:
        assert post(proxy.url, b'{"a": 1}') == 201
        assert api.bodies == [b'{"a": 1}']
        with Recorder(proxy.kubeconfig(tmp_path / "proxied"), "ns", tmp_path / "pods.jsonl") as recorder:
            api.pod("train-1", "Running", "ADDED")
            until(lambda: recorder.history().pods)
        assert [str(write) for write in proxy.writes] == ["POST /api/v1/namespaces/ns/pods -> 201"]
        assert any(request.method == "GET" for request in proxy.requests)


def test_a_request_lost_before_the_server_changes_nothing_and_one_lost_after_it_is_done(
    api: SmallApi, tmp_path: Path
) -> None:
    with ApiProxy(api.kubeconfig(tmp_path / "config")) as proxy:
        struck: list[tuple[int, str]] = []

        def lose(where: str) -> Callable[[Request, str], bool]:
            def strike(request: Request, when: str) -> bool:
                struck.append((request.number, when))
                return when != where

            return strike

        proxy.on_write = lose("before")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            post(proxy.url)
        assert api.bodies == []
        proxy.on_write = lose("after")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            post(proxy.url)
        assert api.bodies == [b"{}"]
        assert struck == [(1, "before"), (2, "before"), (2, "after")]
        assert [write.status for write in proxy.writes] == [None, 201]


def test_a_stalled_proxy_holds_watches_and_writes_until_it_is_released(api: SmallApi, tmp_path: Path) -> None:
    kubeconfig = api.kubeconfig(tmp_path / "config")
    with (
        ApiProxy(kubeconfig) as proxy,
        Recorder(proxy.kubeconfig(tmp_path / "proxied"), "ns", tmp_path / "stalled.jsonl") as stalled,
        Recorder(kubeconfig, "ns", tmp_path / "direct.jsonl") as direct,
    ):
        proxy.stall()
        api.pod("train-1", "Running", "ADDED")
        until(lambda: direct.history().pods)
        assert stalled.history().pods == {}
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(f"{proxy.url}/api/v1/namespaces/ns/pods", timeout=0.2)
        proxy.release()
        until(lambda: stalled.history().pods)
