"""A file of torch.save, saved again with 5 % of its tensors changed and a longer pickle, which moves what follows."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.clients import LIBRARIES, S3FS, TOOLS, WAYPOST, Client
from tests.bench.contest import (
    BUCKET,
    HTTP,
    OURS,
    Contestant,
    Goal,
    Results,
    Row,
    Setting,
    Stage,
    Turn,
    median,
    times,
)
from tests.bench.environments import Environment
from tests.bench.measuring import Program, measure

_PLAIN, _STORE = f"{BUCKET}/plain/state.pt", f"{BUCKET}/store"


@contextlib.contextmanager
def with_generations(stage: Stage, _: Setting) -> Iterator[None]:
    """Two generations of a file, `first.pt` and `second.pt`."""
    folder = _folder(stage)
    folder.mkdir()
    try:
        made = Environment.TORCH.module("through_torch", "make", str(folder), str(stage.mebibytes))
        measure(Program(made, staged=True), stage.server)
        yield
    finally:
        shutil.rmtree(folder)


def _folder(stage: Stage) -> Path:
    return stage.folder / "generations"


def _saves(stage: Stage) -> Sequence[Contestant]:
    second, path = str(_folder(stage) / "second.pt"), _folder(stage) / "state.pt"

    def save(client: Client) -> Contestant:
        return client.contestant(lambda _: client.put(second, _PLAIN))

    def again(_: Turn) -> Program:
        _becomes(path, "first.pt")
        return WAYPOST.again(str(path), _STORE)

    ours = WAYPOST.contestant(again, before=lambda _: _becomes(path, "second.pt"))
    return [ours, *(save(client) for client in (*LIBRARIES, *TOOLS))]


def _becomes(path: Path, generation: str) -> None:
    """Put a generation in the path's place, as a program does that writes a new file and renames it."""
    new = path.with_suffix(".new")
    os.link(path.parent / generation, new)
    new.rename(path)


def _sent_percent(results: Results) -> float:
    return 100 * median(results, OURS, "received") / median(results, S3FS.name, "received")


CHANGED = Row(
    "changed",
    "A torch.save file of which 5 % changed, and whose pickle grew",
    _saves,
    with_generations,
    (HTTP,),
    goals=(
        Goal("percent of the bytes that are sent", _sent_percent, most=5.2),
        Goal("10 times as fast as s3fs", times(S3FS.name), least=10),
    ),
    needs_torch=True,
)
