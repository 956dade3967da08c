"""One rank of a program that is killed: it resumes, checks what it got, and saves step after step with the others.

Its ledger is written without the SDK: what was begun, what was confirmed, what was restored.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from waypost.checkpoints import Checkpoints

LARGE: Final = 150_000


def part_of(step: int, rank: int) -> dict[str, bytes]:
    """The files of a rank's part: every byte tells which step and rank it belongs to."""
    word = b"%06d-%d" % (step, rank)
    files = {f"file-{number}": word * (1 + (step * 31 + number * 7) % 200) for number in range(3)}
    return files | ({"large": word * (LARGE // 8)} if step % 3 == 0 else {})


def found_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(folder: Path, execution: str) -> None:
    rank = int(os.environ["RANK"])
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(word: str, step: int, more: str = "") -> None:
        os.write(ledger, f"{word} {execution} {rank} {step} {more}\n".encode())
        os.fsync(ledger)

    state, work = folder / f"state-{rank}", folder / f"work-{rank}-{os.getpid()}"
    work.mkdir()
    with Checkpoints(group="launched") as checkpoints:
        info = checkpoints.restore(state)
        step = 0
        if info is not None:
            assert info.step is not None
            step = info.step
            note("restored", step, "whole" if found_in(state) == part_of(step, rank) else "TORN")
        else:
            note("restored", 0, "whole")
        while True:
            step += 1
            for path in work.iterdir():
                path.unlink()
            for name, content in part_of(step, rank).items():
                (work / name).write_bytes(content)
            note("saving", step)
            checkpoints.save(work, step=step, wait=step % 3 != 0)
            if step % 3:
                note("saved", step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
