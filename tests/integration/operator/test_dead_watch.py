"""A watch that tells nothing, or breaks: the sweep goes on with the work, and the health check asks for a restart."""

from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config

from tests.cluster import ControlPlane
from tests.cluster.asking import free_ports
from tests.cluster.waiting import wait_for
from tests.witness.apiproxy import ApiProxy, Request
from waypost_operator import handlers
from waypost_operator.runtime.operator import Operator

from .course import drive
from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration


class DeafProxy(ApiProxy):
    """A proxy whose watches open and then stay silent while `deaf` is set: no event, no bookmark, no end."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.deaf = threading.Event()
        self.silent = 0

    async def _stream(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        if "watch" not in incoming.query or not self.deaf.is_set():
            return await super()._stream(incoming, request)
        silent = web.StreamResponse(headers={"Content-Type": "application/json"})
        await silent.prepare(incoming)
        self.silent += 1
        while self.deaf.is_set():
            await asyncio.sleep(0.05)
        await silent.write_eof()
        return silent


class ExpiringProxy(ApiProxy):
    """A proxy that ends every watch as expired while `expired` is set, as an API server does that has lost the changes
    in between; lists and the rest go through."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.expired = threading.Event()
        self.told = 0

    async def _stream(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        if "watch" not in incoming.query:
            return await super()._stream(incoming, request)
        if not self.expired.is_set():
            passing = asyncio.ensure_future(super()._stream(incoming, request))
            while not self.expired.is_set():
                if (await asyncio.wait({passing}, timeout=0.05))[0]:
                    return passing.result()
            passing.cancel()
            if incoming.transport is not None:
                incoming.transport.abort()
            return web.Response(status=503)
        self.told += 1
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
        return web.json_response({"type": "ERROR", "object": {**status, "message": "too old resource version"}})


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[DeafProxy]:
    proxy = DeafProxy(plane.kubeconfig)
    with proxy:
        yield proxy
        proxy.deaf.clear()


async def test_what_a_silent_watch_hides_is_found_by_the_sweep(
    stage: Stage, kubelet: Kubelet, proxy: DeafProxy, launch: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    proxy.deaf.set()
    launch("--resync-seconds", "1", kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
    await stage.apply("train")
    status = await drive(stage, kubelet, "train", seconds=60)
    assert status["state"] == "Succeeded"
    assert status["counts"]["failures"] == 0
    assert status["attempts"][0]["outcome"] in ("Preempted", "Unknown"), "the pod may be gone before a sweep sees it"


async def test_a_pod_that_vanished_while_no_watch_told_it_is_missed_at_once(
    stage: Stage, kubelet: Kubelet, plane: ControlPlane, launch: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    proxy = ExpiringProxy(plane.kubeconfig)
    with proxy:
        launch("--resync-seconds", "3600", kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
        await stage.apply("train")
        pod = await stage.pod("train-1")
        await kubelet.start(pod)
        await stage.status("train", lambda status: status["attempts"][0].get("started"), "attempt 1 runs")
        proxy.expired.set()
        wait_for("both watches to expire", lambda: proxy.told >= 2, seconds=10)
        await kubelet.remove(pod)
        proxy.expired.clear()
        await stage.pod("train-2", seconds=30)
        status = await stage.status("train", lambda status: status.get("attempt") == 2, "attempt 2 recorded")
    assert status["attempts"][0]["rule"] == "Vanished"


def health(port: int) -> int:
    """HTTP status of the health check; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


async def serve(kubeconfig: Path, namespace: str, port: int, stop: asyncio.Event) -> None:
    """An operator in this process, for the patience of its health check: one second instead of some minutes."""

    async def connect() -> Configuration:
        found = Configuration()
        await load_kube_config(str(kubeconfig), client_configuration=found)  # type: ignore[no-untyped-call]
        return found

    async with ApiClient(await connect()) as api:
        operator = Operator(api, "in-process", None, [namespace], resync_seconds=1.0, stale_seconds=1.0)
        working = asyncio.create_task(operator.run())
        registry = handlers.registry(operator.intake, operator.complaints, connect)
        try:
            await handlers.serve(registry, [namespace], port, stop, started=lambda: None)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def test_the_health_check_fails_while_what_was_written_does_not_come_back(
    stage: Stage, proxy: DeafProxy, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    proxy.deaf.set()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(proxy.kubeconfig(tmp_path / "proxied"), stage.namespace, port, stop))
    try:
        # Before they listen in vain the watches list, and what a list shows isn't owed: under load that list came so
        # late that it showed the pod and the last status, and then nothing was ever missing.
        await asyncio.to_thread(wait_for, "both watches to be silent", lambda: proxy.silent >= 2, seconds=30)
        await stage.apply("train")
        await stage.status("train", lambda status: status.get("podUID"), "pod recorded")
        asking = partial(asyncio.to_thread, health, port)
        await stage.until("the health check fails", asking, lambda status: status == 500)
        proxy.deaf.clear()
        await stage.until("the health check passes again", asking, lambda status: status == 200)
    finally:
        stop.set()
        await serving
