"""SIGTERM while large saves are on their way over a slow link: the newest goes out first, or says that it can't."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.sink import Sink
from waypost import contract
from waypost.checkpoints import Checkpoints
from waypost.contract import Document
from waypost.store.keys import MIB

pytestmark = pytest.mark.integration

SIZE = 64 * MIB
LINK_MIB = 32.0
URI = "s3://deadline/store"
BUSY = 4.0
"""Seconds that a machine with other work to do may take longer for the program's part of it."""

PROGRAM = """
import os, sys, time
import waypost
folder = sys.argv[1]
store = waypost.Checkpoints()
store.save(f"{folder}/small", step=1, wait=True)
waypost.preemption_requested()  # from here on the program decides
handles = [store.save(f"{folder}/large", step=step) for step in (2, 3)]
time.sleep(0.5)
print("two saves are on their way", flush=True)
while not waypost.preemption_requested():
    time.sleep(0.01)
"""


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with Sink.start("deadline") as sink:
        for name, value in sink.environment().items():
            monkeypatch.setenv(name, value)
        yield sink


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name, size in (("small", 2 * MIB), ("large", SIZE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(os.urandom(size))
    return tmp_path


def stop(sources: Path, then: str, grace: float) -> tuple[int, float, Document]:
    """Run the program, and SIGTERM it; its exit code, the seconds it took from there, and its document."""
    message = sources / "termination-log"
    message.touch()
    told = {
        contract.ENV_CHECKPOINT_DST: URI,
        contract.ENV_ATTEMPT: "1",
        contract.ENV_GRACE_SECONDS: str(grace),
        contract.ENV_TERMINATION_LOG: str(message),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(sources),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(then), str(sources)],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "two saves are on their way\n"
        began = time.monotonic()
        process.terminate()
        code = process.wait(100)
        seconds = time.monotonic() - began
    document = Document.parse(message.read_text())
    assert document is not None
    return code, seconds, document


@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "at exit"])
def test_the_newest_of_three_is_out_in_the_time_that_its_own_bytes_take(sink: Sink, sources: Path, wait: bool) -> None:
    sink.settings(rate_mib=LINK_MIB)
    code, seconds, document = stop(sources, f'store.save(f"{{folder}}/large", step=4, wait={wait})', 60)
    sink.settings()
    assert code == 0
    assert document.stop_requested
    assert document.committed is not None
    assert document.committed.step == 4
    with Checkpoints(URI, attempt=None) as reader:
        assert [info.step for info in reader.list()] == [4, 1]
        reader.restore(sources / "restored")
    assert (sources / "restored" / "model").read_bytes() == (sources / "large" / "model").read_bytes()
    print(f"{seconds:.1f} s for {SIZE / MIB:.0f} MiB over {LINK_MIB:.0f} MiB/s")
    assert seconds < SIZE / MIB / (0.7 * LINK_MIB) + 1 + BUSY


def test_what_cannot_be_out_in_time_is_told_and_leaves_what_was_committed(sink: Sink, sources: Path) -> None:
    sink.settings(rate_mib=2.0)
    grace = 8
    code, seconds, document = stop(sources, 'store.save(f"{folder}/large", step=4)', grace)
    sink.settings()
    assert code == contract.EXIT_STORAGE
    assert seconds < grace
    assert document.reason == contract.DocumentReason.STORAGE_ERROR
    assert document.committed is not None
    assert document.committed.step == 1
    with Checkpoints(URI, attempt=2) as successor:
        info = successor.restore(sources / "restored")
        assert info is not None
        assert info.step == 1
        assert successor.verify().ok
