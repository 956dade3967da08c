"""kill -9 of any rank at any point: never a checkpoint of some ranks, never one of two executions, nothing lost.

A launcher as torchrun is one: when a rank dies it ends the others, and starts all of them again in the same pod, as the
same attempt. Sometimes it overlooks one, which goes on beside the next execution; sometimes it counts no restart.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.store.ranked_writer import found_in, part_of
from waypost import contract
from waypost.checkpoints import Checkpoints

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SIZE = 3
EXECUTIONS = 12
SEED = 20261125
WRITER = "tests.integration.store.ranked_writer"


class Launcher:
    """Starts all ranks, kills one, ends the others."""

    def __init__(self, store: str, folder: Path) -> None:
        self.folder, self.restarts = folder, 0
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            contract.ENV_CHECKPOINT_DST: store,
            contract.ENV_CHECKPOINT_SRC: store,
            contract.ENV_ATTEMPT: "1",
            contract.ENV_POD_UID: "pod",
            "WORLD_SIZE": str(SIZE),
            "LOCAL_WORLD_SIZE": str(SIZE),
            "TORCHELASTIC_RUN_ID": "none",
        }

    def start(self, execution: int) -> list[subprocess.Popen[bytes]]:
        started = []
        for rank in range(SIZE):
            with open(self.folder / f"log-{execution}-{rank}", "wb") as log:
                env = self.env | {"RANK": str(rank), "TORCHELASTIC_RESTART_COUNT": str(self.restarts)}
                command = [sys.executable, "-m", WRITER, str(self.folder), str(execution)]
                started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env))
        return started

    def at_work(self, execution: int, saves: int) -> None:
        """Wait until every rank has restored, and has been told of so many saves."""
        limit = time.monotonic() + 120
        while True:
            done = Counter(tuple(line.split()[:3]) for line in (self.folder / "ledger").read_text().splitlines())
            ranks = [str(rank) for rank in range(SIZE)]
            if all(
                done["restored", str(execution), rank] and done["saved", str(execution), rank] >= saves
                for rank in ranks
            ):
                return
            assert time.monotonic() < limit, [(self.folder / f"log-{execution}-{rank}").read_text() for rank in ranks]
            time.sleep(0.01)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("place", ["file", "versitygw"])
def test_no_kill_of_a_rank_leaves_a_checkpoint_of_some(uri: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    launcher = Launcher(uri, tmp_path)
    (tmp_path / "ledger").touch()
    overlooked: subprocess.Popen[bytes] | None = None
    with contextlib.ExitStack() as stack:
        for execution in range(EXECUTIONS):
            ranks = launcher.start(execution)
            for process in ranks:
                stack.callback(end, process)
            if execution % 4:
                launcher.at_work(execution, saves=chance.randrange(5))
                time.sleep(chance.uniform(0, 0.1))  # the moment of the kill is the chance being taken, not a wait
            else:
                time.sleep(chance.uniform(0.3, 2.0))  # during its start or restore
            victim = chance.randrange(SIZE)
            end(ranks[victim])
            if overlooked is not None:
                end(overlooked)
                overlooked = None
            for rank, process in enumerate(ranks):
                if rank != victim and overlooked is None and execution % 4 and chance.random() < 0.3:
                    overlooked = process  # one that has joined: before that, it may still take a seat among the next
                else:
                    end(process)
            launcher.restarts += chance.random() < 0.7
    confirmed = check((tmp_path / "ledger").read_text().splitlines())
    assert confirmed >= EXECUTIONS, "too little was saved for the kills to mean anything"
    with Checkpoints(uri) as reader:
        listed = reader.list()
        assert listed[0].step is not None
        assert listed[0].step >= confirmed
        for info in listed:
            assert info.step is not None
            reader.restore(tmp_path / "all", info.sequence)
            assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [str(rank) for rank in range(SIZE)]
            for rank in range(SIZE):
                assert found_in(tmp_path / "all" / str(rank)) == part_of(info.step, rank), info


def check(ledger: list[str]) -> int:
    """Hold the ledger against the promises; returns the highest confirmed step."""
    confirmed = begun = 0
    restored: dict[str, set[str]] = {}
    for line in ledger:
        word, execution, _, step, *rest = line.split()
        if word == "restored":
            assert rest == ["whole"], line
            assert confirmed <= int(step) <= begun, f"{line}: confirmed was {confirmed}, begun {begun}"
            restored.setdefault(execution, set()).add(step)
        elif word == "saving":
            begun = max(begun, int(step))
        else:
            assert word == "saved"
            confirmed = max(confirmed, int(step))
    for execution, steps in restored.items():
        assert len(steps) == 1, f"the ranks of execution {execution} restored {steps}"
    return confirmed
