"""Two operators: one leads, the other takes over when the leader dies, leaves or freezes; never two pods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import ControlPlane
from tests.witness.apiproxy import ApiProxy

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Stage

pytestmark = pytest.mark.integration

TAKEOVER_SECONDS = 15 + 2 * 2 + 3
"""The lease's duration, two looks of the candidate, and what a busy machine adds."""


async def test_the_other_takes_over_from_a_killed_leader_within_the_lease_time(
    stage: Stage, kubelet: Kubelet, launch: Callable[..., OperatorProcess]
) -> None:
    leader = launch()
    leader.wait_for("leading:")
    follower = launch()
    follower.wait_for("serves")
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    assert "leading:" not in follower.said()
    assert "WriteStatus" not in follower.said(), "a follower only looks"
    leader.kill()
    killed = time.monotonic()
    await kubelet.evict(pod, document(1, step=1))
    await kubelet.remove(pod)
    await stage.pod("train-2", seconds=TAKEOVER_SECONDS)
    assert time.monotonic() - killed < TAKEOVER_SECONDS
    status = await stage.status("train", lambda status: status.get("podUID"), "attempt 2 recorded")
    assert status["attempt"] == 2
    assert status["counts"]["preemptions"] == 1, "the follower had watched: it knows the verdict of the vanished pod"
    assert sorted(await stage.pods()) == ["train-2"]


async def test_a_leader_that_leaves_hands_over_at_once(
    stage: Stage, kubelet: Kubelet, launch: Callable[..., OperatorProcess]
) -> None:
    leader = launch()
    leader.wait_for("leading:")
    follower = launch()
    follower.wait_for("serves")
    began = time.monotonic()
    assert await asyncio.to_thread(leader.stop) == 0
    await asyncio.to_thread(follower.wait_for, "leading:", 10)
    assert time.monotonic() - began < 10, "without waiting for the lease's end"
    await stage.apply("train")
    await stage.pod("train-1")


async def test_a_frozen_leader_that_wakes_up_writes_nothing_and_ends(
    plane: ControlPlane, stage: Stage, kubelet: Kubelet, launch: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    with ApiProxy(plane.kubeconfig) as proxy:
        frozen = launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"))
        frozen.wait_for("leading:")
        await stage.apply("train")
        pod = await stage.pod("train-1")
        await kubelet.start(pod)
        await stage.status("train", lambda status: status.get("state") == "Running", "is running")
        other = launch()
        other.wait_for("serves")
        frozen.pause()
        await kubelet.evict(pod, document(1, step=1))
        await asyncio.to_thread(other.wait_for, "leading:", TAKEOVER_SECONDS)
        second = await stage.pod("train-2")
        await kubelet.start(second)
        await stage.status("train", lambda status: status.get("state") == "Running", "attempt 2 is running")
        before = len(proxy.writes)
        frozen.resume()
        assert await asyncio.to_thread(frozen.exit_status) == 3
        late = [str(request) for request in proxy.writes[before:] if "/leases" not in request.path]
        assert late == [], "no write after the lease was lost"
        assert "could not be renewed" in frozen.said()
        assert sorted(await stage.pods()) == ["train-1", "train-2"]


async def test_a_leader_cut_off_from_the_api_server_ends_before_the_lease_does(
    plane: ControlPlane, stage: Stage, launch: Callable[..., OperatorProcess], tmp_path: Path
) -> None:
    with ApiProxy(plane.kubeconfig) as proxy:
        cut_off = launch(kubeconfig=proxy.kubeconfig(tmp_path / "proxied"))
        cut_off.wait_for("leading:")
        other = launch()
        other.wait_for("serves")
        proxy.stall()
        assert await asyncio.to_thread(cut_off.exit_status, TAKEOVER_SECONDS + 15) == 3
        assert "leading:" not in other.said(), "the old leader is gone before the new one begins"
        proxy.release()
    await asyncio.to_thread(other.wait_for, "leading:", TAKEOVER_SECONDS)
