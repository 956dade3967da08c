"""`make bench`: what a save and a restore cost beside the bare requests they are made of.

Waypost and a bare obstore client take turns on the same versitygw, in one process and the same order of work, so that
the machine's noise meets both. Printed are medians with their quartiles, and the ratio, which is the only figure
worth quoting: absolute times belong to the machine of the day.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from obstore.store import S3Store

from tests.cluster import S3Server
from waypost import Checkpoints

BUCKET = "bench"
TINY = b"step=41".ljust(64)
FILE_BYTES = 64 * 2**20
TINY_ROUNDS, FILE_ROUNDS = 100, 5


@dataclass
class Pair:
    """One kind of work, done by Waypost and by the bare client in turns."""

    name: str
    ours: Callable[[int], object]
    bare: Callable[[int], object]
    rounds: int
    our_seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Take turns, each going first every other round; the first round warms up and isn't counted."""
        for number in range(self.rounds + 1):
            turns = [(self.ours, self.our_seconds), (self.bare, self.bare_seconds)]
            for work, seconds in turns if number % 2 else reversed(turns):
                started = time.perf_counter()
                work(number)
                if number:
                    seconds.append(time.perf_counter() - started)

    def row(self) -> str:
        ratio = statistics.median(self.our_seconds) / statistics.median(self.bare_seconds)
        return f"{self.name:<34} {_spread(self.our_seconds):>24} {_spread(self.bare_seconds):>24} {ratio:>7.2f}"


def _spread(seconds: list[float]) -> str:
    low, middle, high = (1000 * value for value in statistics.quantiles(seconds, n=4))
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _pairs(bare: S3Store, checkpoints: Checkpoints, folder: Path) -> list[Pair]:
    source = folder / "state.bin"
    source.write_bytes(os.urandom(FILE_BYTES))

    def restore(number: int) -> None:
        checkpoints.restore(folder / f"restored-{number}")

    def fetch(number: int) -> None:
        with (folder / f"fetched-{number}").open("wb") as target:
            for chunk in bare.get(f"bare/file-{FILE_ROUNDS}").stream():
                target.write(chunk)

    return [
        Pair(
            "save 64 bytes / PUT",
            lambda number: checkpoints.save(TINY, step=number, wait=True),
            lambda number: bare.put(f"bare/tiny-{number}", TINY, mode="create", use_multipart=False),
            TINY_ROUNDS,
        ),
        Pair(
            "save 64 MiB / PUT",
            lambda number: checkpoints.save(source, step=1000 + number, wait=True),
            lambda number: bare.put(f"bare/file-{number}", source.read_bytes(), use_multipart=False),
            FILE_ROUNDS,
        ),
        Pair("restore 64 MiB, verified / GET", restore, fetch, FILE_ROUNDS),
    ]


def main() -> int:
    with S3Server.start(BUCKET) as server, _environment(server.environment), TemporaryDirectory() as folder:
        bare = S3Store(BUCKET, endpoint=server.endpoint, client_options={"allow_http": True})
        with Checkpoints(f"s3://{BUCKET}/waypost", attempt=1) as checkpoints:
            pairs = _pairs(bare, checkpoints, Path(folder))
            for pair in pairs:
                pair.run()
    print(f"{'milliseconds: median (quartiles)':<34} {'Waypost':>24} {'bare client':>24} {'ratio':>7}")
    for pair in pairs:
        print(pair.row())
    return 0


if __name__ == "__main__":
    sys.exit(main())
