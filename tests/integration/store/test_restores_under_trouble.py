"""A restore with many requests in flight, from a real S3 server: whatever becomes of some, it is all or nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.store.test_folders import fingerprint
from tests.witness import troubles
from tests.witness.faultproxy import Exchange, FaultProxy, Trouble
from waypost import contract
from waypost.checkpoints import Checkpoints
from waypost.errors import CorruptCheckpointError
from waypost.store.calls import Budget

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True),
]
PATIENT = Budget(seconds=60.0, answer=1.0, first_pause=0.02)
MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Some 76 MiB: large files and many small ones."""
    folder = tmp_path / "source"
    (folder / "small").mkdir(parents=True)
    for number in range(3):
        (folder / f"large {number}").write_bytes(os.urandom(24 * MIB + number))
    for number in range(200):
        (folder / "small" / f"{number}").write_bytes(os.urandom(20_000))
    return folder


@pytest.fixture
def saved(s3: str, proxy: FaultProxy, source: Path) -> str:
    with Checkpoints(s3, attempt=1) as store:
        store.save(source, wait=True)
    proxy.count()
    return s3


def restored(uri: str, path: Path) -> dict[bytes, object]:
    with Checkpoints(uri, attempt=None, saving=PATIENT) as store:
        assert store.restore(path) is not None
    return dict(fingerprint(path))


def requests(proxy: FaultProxy) -> int:
    return proxy.count()["GET packs"]


def asked(proxy: FaultProxy) -> Counter[str]:
    """How often which bytes of which pack were asked for, since this or `requests` was asked last."""
    found = Counter(one.key + one.headers["range"] for one in proxy.requests if one.kind == "GET packs")
    proxy.count()
    return found


def test_answers_in_any_order_make_the_same_folder(saved: str, proxy: FaultProxy, source: Path, tmp_path: Path) -> None:
    chance = random.Random(20261126)
    answered: list[str] = []

    async def late(exchange: Exchange) -> None:
        answer = await exchange.forward()
        await asyncio.sleep(chance.uniform(0, 0.3))
        answered.append(exchange.request.headers["range"] + exchange.request.key)
        await exchange.answer(answer)

    proxy.plan(late, "GET", "/packs/", times=None)
    assert restored(saved, tmp_path / "out") == fingerprint(source)
    asked = [request.headers["range"] + request.key for request in proxy.requests if request.kind == "GET packs"]
    assert len(asked) >= 6
    assert sorted(answered) == sorted(asked)
    assert answered != asked, "none overtook another: nothing was tried"


@pytest.mark.parametrize(
    "trouble",
    [
        troubles.corrupt,
        troubles.shorten,
        troubles.cut_download,
        troubles.reset_before,
        troubles.INTERNAL_ERROR,
        troubles.hang,
    ],
    ids=["wrong bit", "shortened", "cut", "reset", "500", "hang"],
)
def test_what_goes_wrong_with_some_costs_only_their_repetition(
    saved: str, proxy: FaultProxy, source: Path, tmp_path: Path, trouble: Trouble
) -> None:
    assert restored(saved, tmp_path / "once") == fingerprint(source)
    needed = asked(proxy)
    plans = [proxy.plan(trouble, "GET", "/packs/", spare=spare) for spare in (0, 3, len(needed) - 3)]
    assert restored(saved, tmp_path / "out") == fingerprint(source)
    assert [plan.met for plan in plans] == [1, 1, 1]
    again = asked(proxy)
    assert again.keys() == needed.keys(), "the rest was asked for in the same requests"
    # once, on a busy machine, eight more had to be repeated; why is not known
    assert needed.total() + 3 <= again.total() <= 3 * needed.total(), again


def test_slow_down_is_heeded_and_passes(saved: str, proxy: FaultProxy, source: Path, tmp_path: Path) -> None:
    plan = proxy.plan(troubles.SLOW_DOWN, "GET", "/packs/", times=6)
    assert restored(saved, tmp_path / "out") == fingerprint(source)
    assert plan.met == 6


def test_one_slow_answer_holds_nobody_else_up(saved: str, proxy: FaultProxy, source: Path, tmp_path: Path) -> None:
    proxy.plan(troubles.trickle(256 << 10, 0.05), "GET", "/packs/")
    began = time.monotonic()
    assert restored(saved, tmp_path / "out") == fingerprint(source)
    assert time.monotonic() - began < 30


def test_bytes_that_stay_wrong_leave_the_folder_as_it_was(saved: str, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.plan(troubles.corrupt, "GET", "/packs/", times=None, spare=5)
    with (
        Checkpoints(saved, attempt=None, saving=PATIENT) as store,
        pytest.raises(CorruptCheckpointError, match="doesn't have the content that was saved"),
    ):
        store.restore(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["source"]


PROGRAM = """
import sys
from waypost import Checkpoints
with Checkpoints() as store:
    store.restore(sys.argv[1])
"""


def interrupted(saved: str, proxy: FaultProxy, out: Path, number: signal.Signals) -> tuple[int, float]:
    """A restore in a process of its own, which gets a signal while some of its requests hang; exit code and seconds."""
    plan = proxy.plan(troubles.hang, "GET", "/packs/", times=None, spare=4)
    told = {
        contract.ENV_CHECKPOINT_DST: saved,
        contract.ENV_CHECKPOINT_SRC: saved,
        contract.ENV_ATTEMPT: "2",
        contract.ENV_POD_UID: "pod-2",
        contract.ENV_GRACE_SECONDS: "30",
        contract.ENV_TERMINATION_LOG: os.devnull,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(out)], env={**os.environ, **told})
    try:
        assert plan.arrived.wait(60)
        began = time.monotonic()
        process.send_signal(number)
        return process.wait(30), time.monotonic() - began
    finally:
        process.kill()
        process.wait()
        proxy.relent()


def test_sigterm_ends_it_at_once_and_leaves_nothing(saved: str, proxy: FaultProxy, tmp_path: Path) -> None:
    code, seconds = interrupted(saved, proxy, tmp_path / "out", signal.SIGTERM)
    assert code == contract.EXIT_RECOVERABLE
    assert seconds < 5
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_sigkill_leaves_no_folder_and_the_next_restore_no_trace(
    saved: str, proxy: FaultProxy, source: Path, tmp_path: Path
) -> None:
    interrupted(saved, proxy, tmp_path / "out", signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    assert restored(saved, tmp_path / "out") == fingerprint(source)
    assert sorted(os.listdir(tmp_path)) == ["out", "source"]
