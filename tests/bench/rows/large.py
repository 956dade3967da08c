"""One large file of random bytes, to the store and back."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.clients import ALL, CRT, OBSTORE, WAYPOST, Client, limit
from tests.bench.contest import (
    BUCKET,
    FAR,
    HTTP,
    OURS,
    REAL,
    TLS,
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
from tests.bench.measuring import RunError, measure

ONE_LINE, FOUR_LINES = "bare sendfile, 1 connection", "bare sendfile, 4 connections"
DD, ONE_GET, COPY = "dd to a new file", "bare GET, thrown away", "copy in warm memory"
_PLAIN, _STORE = f"{BUCKET}/plain/state", f"{BUCKET}/store"
_BLOCK = 1 << 24
FIRST_SAVE = f"{OURS}, its first save"


def source_file(stage: Stage) -> Path:
    """The large file, made at first use."""
    path = stage.folder / "state"
    if not path.exists() or path.stat().st_size != stage.size:
        with path.open("wb") as file:
            for start in range(0, stage.size, _BLOCK):
                file.write(os.urandom(min(_BLOCK, stage.size - start)))
    return path


@contextlib.contextmanager
def with_source(stage: Stage, _: Setting) -> Iterator[None]:
    """The large file, for as long as a row runs."""
    path = source_file(stage)
    try:
        yield
    finally:
        path.unlink()


@contextlib.contextmanager
def _with_source_in_the_store(stage: Stage, setting: Setting) -> Iterator[None]:
    with with_source(stage, setting):
        for client, key in ((OBSTORE, _PLAIN), (WAYPOST, _STORE)):
            measure(client.put(str(source_file(stage)), key), stage.server)
        yield


def _puts(stage: Stage) -> Sequence[Contestant]:
    source = str(source_file(stage))

    def put(client: Client) -> Contestant:
        return client.contestant(lambda _: client.put(source, _PLAIN))

    def bare(name: str, lanes: int) -> Contestant:
        return limit(name, lambda _: ["put", source, _PLAIN, str(lanes)], unsigned=True)

    first = Contestant(FIRST_SAVE, lambda _: WAYPOST.first(source, _PLAIN))
    return [*map(put, ALL), first, bare(ONE_LINE, 1), bare(FOUR_LINES, 4)]


def _gets(stage: Stage) -> Sequence[Contestant]:
    def back(client: Client) -> Contestant:
        key = _STORE if client is WAYPOST else _PLAIN
        return client.contestant(lambda turn: client.get(key, _target(turn)), check=_same)

    return [
        *map(back, ALL),
        limit(DD, lambda turn: ["dd", str(source_file(turn.stage)), _target(turn)]),
        limit(ONE_GET, lambda _: ["get", _PLAIN], unsigned=True),
        limit(COPY, lambda turn: ["copy", str(turn.stage.mebibytes)]),
    ]


def _target(turn: Turn) -> str:
    return str(turn.folder / "restored")


def _same(turn: Turn) -> None:
    """What came back is what was sent, whether it came as a file or into a folder."""
    found = [path for path in turn.folder.rglob("*") if path.is_file() and path.stat().st_size == turn.stage.size]
    if len(found) != 1 or not filecmp.cmp(found[0], source_file(turn.stage), shallow=False):
        raise RunError(f"what came back isn't what was sent: {found}")


def _of_sendfile(results: Results) -> float:
    return min(median(results, ONE_LINE), median(results, FOUR_LINES)) / median(results, OURS)


_UP = (
    Goal("upload at 75 % of a bare sendfile over the same socket", _of_sendfile, least=0.75),
    Goal("upload 5 times as fast as s3fs", times("s3fs"), least=5),
    Goal("with a sixth of its CPU seconds", times("s3fs", what="cpu_seconds"), least=6),
    Goal("and 128 MiB of memory at most", lambda results: median(results, OURS, "peak_mib"), most=128),
    Goal("upload over TLS at least as fast as s5cmd", times("s5cmd"), least=1, setting=TLS),
    Goal("upload over TLS at least as fast as AWS CRT", times(CRT.name), least=1, setting=TLS),
)
_DOWN = (
    Goal("restore, verified, at 0.7 of `dd` to a new file", times(DD), least=0.7),
    Goal("restore 2.5 times as fast as s3fs", times("s3fs"), least=2.5),
    Goal("restore over TLS at least as fast as s5cmd", times("s5cmd"), least=1, setting=TLS),
    Goal("restore over TLS at least as fast as AWS CRT", times(CRT.name), least=1, setting=TLS),
)

UPLOAD = Row(
    "upload",
    "A file of random bytes to the store",
    _puts,
    with_source,
    (HTTP, TLS, FAR, REAL),
    goals=_UP,
    moved=lambda stage: stage.size,
)
RESTORE = Row(
    "restore",
    "The same file back to a new file, every byte verified by Waypost",
    _gets,
    _with_source_in_the_store,
    (HTTP, TLS, FAR, REAL),
    goals=_DOWN,
    moved=lambda stage: stage.size,
    keeps_objects=True,
)
