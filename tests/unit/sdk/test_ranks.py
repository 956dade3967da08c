"""Several ranks in one pod: one document, which is rank 0's, and a SIGTERM that proves nothing by itself."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.unit.sdk.processes import Attempt, terminate
from waypost.contract import Document, Position

PROGRAM = """
import os, sys, time
import waypost
rank = int(os.environ["RANK"])
ck = waypost.Checkpoints(group="launched")
print("ready", flush=True)
for line in sys.stdin:
    match line.strip():
        case "save":
            ck.save(b"state of %d" % rank, step=7, wait=True)
        case "fail":
            raise RuntimeError("rank %d has a bug" % rank)
        case "complete":
            ck.complete()
            break
    print("done", flush=True)
"""
TORCHRUN = {
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
}


@contextlib.contextmanager
def ranks(attempt: Attempt) -> Iterator[list[subprocess.Popen[str]]]:
    program = str(attempt.program(PROGRAM))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(attempt.started([program], **TORCHRUN, RANK=str(rank))) for rank in range(2)]


def hear(processes: list[subprocess.Popen[str]], word: str) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{word}\n"


def tell(processes: list[subprocess.Popen[str]], word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()


def test_the_document_is_rank_0s_and_completed_when_all_ranks_are(attempt: Attempt) -> None:
    with ranks(attempt) as processes:
        hear(processes, "ready")
        tell(processes, "save")
        hear(processes, "done")
        told = attempt.document
        assert told is not None
        assert told.last_save is not None
        assert told.last_save.size_bytes == told.last_save.moved_bytes == 20, "of all ranks"
        assert told == Document(attempt=1, fence=1, committed=Position(2, 7), last_save=told.last_save)
        tell(processes[1:], "complete")
        assert attempt.document == told
        tell(processes[:1], "complete")
        assert [attempt.end(process).code for process in processes] == [0, 0]
        assert attempt.document is not None
        assert attempt.document.completed


def test_the_end_of_a_rank_above_0_overwrites_nothing(attempt: Attempt) -> None:
    with ranks(attempt) as processes:
        hear(processes, "ready")
        tell(processes[1:], "fail")
        assert attempt.end(processes[1]).code == 1
        assert attempt.document == Document(attempt=1, fence=1)


def test_a_sigterm_after_another_rank_has_crashed_passes_for_no_preemption(attempt: Attempt) -> None:
    """The launcher sends it; were it told, a program with a bug would be relaunched for ever."""
    with ranks(attempt) as processes:
        hear(processes, "ready")
        tell(processes[1:], "fail")
        attempt.end(processes[1])
        terminate(processes[0])
        assert processes[0].stderr is not None
        assert any("SIGTERM: this attempt has to stop" in line for line in processes[0].stderr)
        assert attempt.document == Document(attempt=1, fence=1)


def test_a_save_of_all_ranks_after_sigterm_tells_the_stop_order(attempt: Attempt) -> None:
    with ranks(attempt) as processes:
        hear(processes, "ready")
        for process in processes:
            terminate(process)
        tell(processes, "save")
        ends = [attempt.end(process) for process in processes]
        assert [end.code for end in ends] == [75, 75], ends
        assert attempt.document is not None
        assert attempt.document.stop_requested
        assert attempt.document.committed == Position(2, 7)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_refused_says_so_as_ever(attempt: Attempt, rank: int) -> None:
    higher = Attempt(attempt.folder, attempt.store, number=5, pod="other")
    assert higher.run("import waypost\nwaypost.Checkpoints().close()\n").code == 0
    program = str(attempt.program("import waypost\nwaypost.Checkpoints(group='launched')\n"))
    with attempt.started([program], **TORCHRUN, RANK=str(rank)) as process:
        done = attempt.end(process)
    assert done.code == 75, done
    assert "attempt 5 has taken the store over" in done.err
