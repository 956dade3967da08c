"""An API server that loses requests and replies, others who write in between, and an operator that dies at each write.

The recorder of tests.witness judges: never two pods of one task alive, no unfinished task left alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cluster import ControlPlane
from tests.witness.apiproxy import ApiProxy, Request, When
from tests.witness.recorder import Recorder
from waypost import contract

from .course import drive
from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Stage, condition

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[ApiProxy]:
    with ApiProxy(plane.kubeconfig) as proxy:
        yield proxy


@asynccontextmanager
async def judged(plane: ControlPlane, stage: Stage, folder: Path) -> AsyncIterator[None]:
    """What happens inside must keep the promises, by the recorder's account."""
    recorder = await asyncio.to_thread(Recorder(plane.kubeconfig, stage.namespace, folder / "record").__enter__)
    try:
        yield
        history = recorder.history()
        assert history.broken_promises() == [], stage.tails()
        assert [life.attempt for life in history.lives("train")] == [1, 2, 3]
    finally:
        await asyncio.to_thread(recorder.__exit__, None, None, None)


def matters(request: Request) -> bool:
    """Writes on tasks and pods; Events are a courtesy."""
    return request.is_write and "/events" not in request.path and "/leases" not in request.path


async def test_an_operator_killed_at_each_of_its_writes_carries_the_task_to_its_end(
    plane: ControlPlane,
    stage: Stage,
    kubelet: Kubelet,
    proxy: ApiProxy,
    launch: Callable[..., OperatorProcess],
    tmp_path: Path,
) -> None:
    operator = launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
    deaths: list[str] = []
    lives = threading.Lock()
    life, stop = 0, threading.Event()

    def strike(request: Request, when: When) -> bool:
        """Even lives die before their first write is sent on, odd ones after it was done and before they hear so."""
        nonlocal life
        if not matters(request):
            return True
        with lives:
            if stop.is_set() or when != ("before" if life % 2 == 0 else "after"):
                return True
            deaths.append(f"{when} {request}")
            operator.kill()
            life += 1
            operator.start()
        return False

    proxy.on_write = strike
    async with judged(plane, stage, tmp_path):
        await stage.apply("train")
        status = await drive(stage, kubelet, "train", seconds=110)
        with lives:
            stop.set()  # and nobody is about to start one more, which no one would end
    assert status["state"] == "Succeeded"
    assert status["counts"]["failures"] == 0
    assert status["attempts"][0]["outcome"] in ("Preempted", "Unknown"), "its pod may go while no operator looks"
    creates = [death for death in deaths if "POST" in death]
    assert len([death for death in creates if death.startswith("before")]) == 3, deaths
    assert len([death for death in creates if death.startswith("after")]) == 3, deaths
    assert len(deaths) >= 14, deaths


async def test_requests_and_replies_that_get_lost_are_made_good(
    plane: ControlPlane,
    stage: Stage,
    kubelet: Kubelet,
    proxy: ApiProxy,
    launch: Callable[..., OperatorProcess],
    tmp_path: Path,
) -> None:
    seen: dict[int, int] = {}
    lost: list[str] = []

    def strike(request: Request, when: When) -> bool:
        """Of three writes one is lost on its way, one reply is lost, one goes through."""
        if not matters(request):
            return True
        turn = seen.setdefault(request.number, len(seen)) % 3
        passes = turn == 2 or when != ("before", "after")[turn]
        if not passes:
            lost.append(f"{when} {request}")
        return passes

    proxy.on_write = strike
    launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
    async with judged(plane, stage, tmp_path):
        await stage.apply("train")
        status = await drive(stage, kubelet, "train", seconds=60)
    assert status["state"] == "Succeeded"
    assert len(lost) >= 6, lost


async def test_an_operator_stalled_for_a_while_goes_on_from_what_is_true_then(
    plane: ControlPlane,
    stage: Stage,
    kubelet: Kubelet,
    proxy: ApiProxy,
    launch: Callable[..., OperatorProcess],
    tmp_path: Path,
) -> None:
    launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
    await stage.apply("train")
    first = await stage.pod("train-1")
    await kubelet.start(first)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    proxy.stall()
    await kubelet.evict(first)
    await kubelet.remove(first)
    assert "train-2" not in await stage.pods()
    proxy.release()
    await stage.pod("train-2", seconds=30)
    status = await stage.status("train", lambda status: status.get("attempt") == 2, "attempt 2")
    assert status["counts"]["preemptions"] == 1, "the DELETED event brought the verdict"


async def test_a_write_of_somebody_else_in_between_is_respected(
    stage: Stage, kubelet: Kubelet, proxy: ApiProxy, launch: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    foreign = {
        "type": "Audited",
        "status": "True",
        "reason": "ByHand",
        "message": "",
        "lastTransitionTime": "2026-11-23T09:00:00Z",
    }
    interfered: list[str] = []

    async def interfere() -> None:
        present = (await stage.task("train")).get("status", {}).get("conditions", [])
        if not condition({"conditions": present}, "Audited"):
            present = [*present, foreign]
        await stage.patch(contract.PLURAL, "train", {"status": {"conditions": present}}, "status")
        await stage.patch(contract.PLURAL, "train", {"metadata": {"annotations": {"touched": str(len(interfered))}}})

    def strike(request: Request, when: When) -> bool:
        if when == "before" and request.path.endswith("/status") and len(interfered) % 2 == 0:
            interfered.append(str(request))
            asyncio.run_coroutine_threadsafe(interfere(), loop).result(20)
        elif when == "before" and request.path.endswith("/status"):
            interfered.append("left alone")
        return True

    proxy.on_write = strike
    operator = launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"), leader=False)
    await stage.apply("train")
    status = await drive(stage, kubelet, "train", seconds=60)
    assert status["state"] == "Succeeded"
    assert condition(status, "Audited")["reason"] == "ByHand", "conditions of others stay"
    conflicts = [request for request in proxy.writes if request.status == 409]
    assert len(conflicts) >= 3, [str(request) for request in proxy.writes]
    assert "Traceback" not in operator.said()
