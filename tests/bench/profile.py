"""What the processor does while Waypost moves a large file: the reason for what the benchmark measured.

    python -m tests.bench.profile [--size MIB] [--rounds N]

Linux's `perf` samples every process of Waypost's from the word until all is done, system calls included; a sample
counts for what the machine was at, as its symbol tells. Printed are seconds of processor time for each kind, the mean
of the rounds, and under them those that the server took meanwhile. The kernel's symbols are shown to root only.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.clients import install
from tests.bench.contest import BUCKET, HTTP, OURS, TLS, Contestant, Row, Setting, Stage, Turn, compete
from tests.bench.measuring import Program, RunError
from tests.bench.page import markdown
from tests.bench.peers.staged import RECORDER
from tests.bench.rows.large import RESTORE, UPLOAD
from tests.bench.rows.states import TENSORS
from tests.bench.sink import Sink
from tests.cluster.packages import require_packages
from tests.cluster.progress import say

_HERTZ: Final = 1999
_ANSWER_SECONDS: Final = 10.0
_KINDS: Final[Sequence[tuple[str, str]]] = (
    ("hashing (BLAKE3)", r"blake3"),
    ("checksums and signatures", r"sha2|crc|hmac|awscrt"),
    ("TLS", r"libcrypto|libssl|_ssl\.|rustls|ring_core|aes|gcm|chacha20_poly"),
    ("new pages: found, cleared, charged", r"clear_page|alloc_.*(page|folio)|folio_alloc|charge|page_fault|prep_new"),
    (
        "new pages: found, cleared, charged",
        r"handle_mm_fault|get_page_from_freelist|shmem_(get|alloc|add)|free_.*(page|folio)",
    ),
    ("copies from and to sockets", r"_copy_(to|from)_iter|rep_movs|skb_copy|simple_copy_to_iter|csum_and_copy"),
    ("copies to and from files", r"copy_folio|filemap|shmem_(file|write)|generic_perform_write|mapping_seek|copy_page"),
    ("copies within the program", r"libc\.so.*mem(move|cpy|set)|memmove|memcpy"),
    ("network, else", r"tcp|skb|sock|inet|\bip_|__ip|net_rx|dev_|loopback|napi|softirq"),
    ("threads: waking, waiting, switching", r"futex|sched|switch|wake|spin|rwsem|pthread|sem_|take_gil|drop_gil"),
    ("Python", r"python"),
    ("obstore, else", r"obstore"),
    ("kernel, else", r"kernel|\[k\]"),
)
_SAMPLE: Final = re.compile(r"\s*[0-9a-f]+ (?P<symbol>.*) \((?P<place>.*?)\)\s*")
_ELSE: Final = "else"
_ALL: Final = "all of it"


def kind_of(symbol: str, place: str) -> str:
    """What a sample of this symbol, of this library or of the kernel, was at."""
    told = f"{Path(place).name} {symbol}"
    return next((kind for kind, pattern in _KINDS if re.search(pattern, told)), _ELSE)


def kinds_in(samples: Iterable[str]) -> Mapping[str, int]:
    """How many samples there are of each kind, in what `perf script -F ip,sym,dso` prints."""
    found = (_SAMPLE.fullmatch(line) for line in samples)
    return collections.Counter(kind_of(one["symbol"], one["place"]) for one in found if one is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the large file")
    parser.add_argument("--rounds", type=int, default=3, help="counted ones; one more warms up")
    told = parser.parse_args(arguments)
    require_packages(["linux-perf"])
    install(torch=True)
    columns: dict[str, Mapping[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="waypost-bench-", dir="/dev/shm") as work, Sink.start(BUCKET) as sink:
        stage = Stage(sink, Path(work), told.size, told.rounds)
        for row, setting in ((UPLOAD, HTTP), (UPLOAD, TLS), (RESTORE, HTTP), (RESTORE, TLS), (TENSORS, HTTP)):
            label = f"{row.name}, {setting.label}"
            say(f"{label}: {row.title}")
            columns[label] = profile(row, setting, stage)
    print(table(columns))
    return 0


def profile(row: Row, setting: Setting, stage: Stage) -> Mapping[str, float]:
    """Seconds of each kind in the row's Waypost, under them the server's, and from the word to the end."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = _Recorder(Path(folder))
        ours = next(one for one in row.contestants(stage) if one.name == OURS)
        alone = dataclasses.replace(row, contestants=lambda _: [recorder.watching(ours)])
        outcome = compete(alone, setting, stage, [])
        if not outcome.sound:
            raise RunError(f"{row.name}: {outcome.failures}")
        counted = [recorder.kinds(number) for number in range(1, stage.rounds + 1)]
    kinds = dict.fromkeys(kind for kind, _ in [*_KINDS, (_ELSE, "")])
    found = {kind: statistics.mean(one.get(kind, 0) for one in counted) / _HERTZ for kind in kinds}
    taken = outcome.results[OURS]
    return {
        **found,
        _ALL: sum(found.values()),
        "the server's": statistics.mean(one.server_cpu_seconds for one in taken),
        "from the word to the end": statistics.mean(one.seconds for one in taken),
    }


class _Recorder:
    """Runs a contestant's program under perf, which begins to look at it with the word."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control, self._answer = folder / "control", folder / "answer"
        for pipe in (self._control, self._answer):
            os.mkfifo(pipe)

    def watching(self, contestant: Contestant) -> Contestant:
        def program(turn: Turn) -> Program:
            told = contestant.program(turn)
            record = ["perf", "record", "--quiet", f"--freq={_HERTZ}", "--delay=-1"]
            record += ["--output", self._file(turn.number)]
            record += ["--control", f"fifo:{self._control},{self._answer}", "--"]
            environment = {**told.environment, RECORDER: str(self._control)}
            return dataclasses.replace(told, command=[*record, *told.command], environment=environment)

        def before(turn: Turn) -> None:
            contestant.before(turn)
            answer = os.open(self._answer, os.O_RDONLY | os.O_NONBLOCK)
            try:
                try:
                    control = os.open(self._control, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody listens: the program has ended, and is asked why
                    return
                with open(control, "wb", buffering=0) as file:
                    file.write(b"enable\n")
                    select.select([answer], [], [], _ANSWER_SECONDS)
            finally:
                os.close(answer)

        return dataclasses.replace(contestant, program=program, before=before)

    def kinds(self, number: int) -> Mapping[str, int]:
        """How many samples of each kind were taken in that round."""
        script = ["perf", "script", "--input", self._file(number), "--fields", "ip,sym,dso"]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RunError(f"`{' '.join(script)}` failed: {done.stderr}")
        return kinds_in(done.stdout.splitlines())

    def _file(self, number: int) -> str:
        return str(self._folder / f"{number}.data")


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Kinds against rows, in seconds, as Markdown."""
    lines = [["seconds of processor time", *columns], [":---", *["---:"] * len(columns)]]
    for kind in next(iter(columns.values())):
        figures = [f"{column[kind]:.2f}" for column in columns.values()]
        if any(figure != "0.00" for figure in figures):
            lines.append([kind, *figures])
    return markdown(lines)


if __name__ == "__main__":
    sys.exit(main())
