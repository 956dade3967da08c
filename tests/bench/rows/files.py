"""A folder of 1000 files of 256 KiB: to the store, back, and to the store again with 5 % of the files changed."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.clients import ALL, LIBRARIES, OBSTORE, S3FS, TOOLS, WAYPOST, Client
from tests.bench.contest import (
    BUCKET,
    FAR,
    HTTP,
    OURS,
    REAL,
    Contestant,
    Goal,
    Row,
    Setting,
    Stage,
    Turn,
    median,
    times,
)
from tests.bench.measuring import Program, RunError, measure

_FILE_BYTES = 256 << 10
_PLAIN, _STORE = f"{BUCKET}/plain/folder", f"{BUCKET}/store"
_CHANGED_SHARE = 20  # one in twenty


def _count(stage: Stage) -> int:
    return 20 if stage.smoke else 1000


def source_folder(stage: Stage) -> Path:
    """The folder, made at first use: ten folders with a tenth of the files each."""
    folder = stage.folder / "files"
    if not folder.exists():
        for number in range(_count(stage)):
            path = folder / f"part-{number % 10}" / f"file-{number:04}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(_FILE_BYTES))
    return folder


@contextlib.contextmanager
def _with_source(stage: Stage, _: Setting) -> Iterator[None]:
    folder = source_folder(stage)
    try:
        yield
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _with_source_in_the_store(stage: Stage, setting: Setting) -> Iterator[None]:
    with _with_source(stage, setting):
        for client, key in ((OBSTORE, _PLAIN), (WAYPOST, _STORE)):
            measure(client.put(f"{source_folder(stage)}/", key), stage.server)
        yield


def _key(client: Client) -> str:
    return _STORE if client is WAYPOST else _PLAIN


def _puts(stage: Stage) -> Sequence[Contestant]:
    source = f"{source_folder(stage)}/"

    def put(client: Client) -> Contestant:
        return client.contestant(lambda _: client.put(source, _key(client)))

    return [put(client) for client in ALL]


def _gets(_: Stage) -> Sequence[Contestant]:
    def back(client: Client) -> Contestant:
        return client.contestant(lambda turn: client.get(_key(client), f"{turn.folder}/restored/"), check=_same)

    return [back(client) for client in ALL]


def _same(turn: Turn) -> None:
    source = source_folder(turn.stage)
    wanted = {path.name: path for path in source.rglob("file-*")}
    found = {path.name: path for path in turn.folder.rglob("file-*")}
    if wanted.keys() != found.keys() or not all(
        filecmp.cmp(wanted[name], found[name], shallow=False) for name in wanted
    ):
        raise RunError(f"what came back isn't what was sent: {len(found)} files of {len(wanted)}")


def _again(stage: Stage) -> Sequence[Contestant]:
    source = f"{source_folder(stage)}/"

    def second(client: Client) -> Contestant:
        def program(turn: Turn) -> Program:
            if client is WAYPOST:
                return WAYPOST.again(source, _STORE)
            measure(client.put(source, _PLAIN), turn.stage.server)
            return client.put(source, _PLAIN)

        return client.contestant(program, before=_change)

    return [second(client) for client in (WAYPOST, *LIBRARIES, *TOOLS)]


def _change(turn: Turn) -> None:
    """Rewrite every twentieth file in place, as programs do that keep a table of shards."""
    paths = sorted(source_folder(turn.stage).rglob("file-*"), key=lambda path: path.name)
    for path in paths[turn.number % _CHANGED_SHARE :: _CHANGED_SHARE]:
        path.write_bytes(os.urandom(_FILE_BYTES))


def _moved(stage: Stage) -> int:
    return _count(stage) * _FILE_BYTES


FILES = Row(
    "files",
    "1000 files of 256 KiB to the store",
    _puts,
    _with_source,
    (HTTP, FAR, REAL),
    goals=(
        Goal("1000 files in 12 PUTs", lambda results: median(results, OURS, "total_requests") - 1, most=12),
        Goal("1000 files 6 times as fast as s3fs", times(S3FS.name), least=6),
    ),
    moved=_moved,
)
FILES_BACK = Row(
    "files-back",
    "The same folder back, every byte verified by Waypost",
    _gets,
    _with_source_in_the_store,
    (HTTP, REAL),
    goals=(Goal("1000 files back 9 times as fast as s3fs", times(S3FS.name), least=9),),
    moved=_moved,
    keeps_objects=True,
)
FILES_AGAIN = Row(
    "files-again",
    "The same folder to the store again, 5 % of the files changed (the tools by their sync)",
    _again,
    _with_source,
    (HTTP, FAR),
    goals=(
        Goal("the second save in 3 requests", lambda results: median(results, OURS, "total_requests"), most=3),
        Goal("40 times as fast as s3fs at 20 ms", times(S3FS.name), least=40, setting=FAR),
        Goal("3 times as fast as s5cmd's sync at 20 ms", times("s5cmd"), least=3, setting=FAR),
    ),
)
