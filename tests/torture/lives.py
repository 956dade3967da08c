"""A writer as its torturer has it: forked, listened to, frozen, woken, killed.

Forked, not spawned, from a process that has imported everything and never opened a store: so a life begins within
milliseconds. A process with threads, or with a client's runtime in it, must not be forked, so this one has none.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import obstore.store  # noqa: F401 - imported here, so that no life has to

from tests.torture.errors import TortureError
from tests.torture.writer import EXIT_FAILED, Ledger, Life, live

SECONDS = 120.0
"""Longer than anything a life does between two lines of its ledger."""
Line = list[str]


@dataclass
class Subject:
    """A running writer."""

    life: Life
    pid: int
    _pipe: int
    _rest: bytes = b""
    _ended: int | None = None

    def __post_init__(self) -> None:
        self.lines: list[Line] = []
        """Its ledger so far, a line's words each."""
        self._unread: deque[Line] = deque()

    @classmethod
    def begin(cls, life: Life, body: Callable[[Life, Ledger], int] = live) -> Self:
        """Fork a writer, or whatever else `body` is."""
        if len(os.listdir("/proc/self/task")) != 1:
            raise TortureError("the torturer has threads, so it can't fork")
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            os.set_blocking(reading, False)
            return cls(life, pid, reading)
        code = EXIT_FAILED
        try:
            os.close(reading)
            with open(life.folder / "stderr", "ab") as errors:
                os.dup2(errors.fileno(), 2)
            code = body(life, Ledger(writing))
        except BaseException:  # noqa: BLE001 - its exit code tells, and its ledger
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def next_line(self, seconds: float = SECONDS) -> Line | None:
        """The next line of its ledger that was not asked for before; None when there will be none any more.

        Raises TortureError after `seconds` without one.
        """
        if not self._unread and not self._listen(seconds):
            return None
        return self._unread.popleft()

    def until(self, wanted: Callable[[Line], bool], seconds: float = SECONDS) -> bool:
        """Read on to the first line that is `wanted`; False when it ended before."""
        while (line := self.next_line(seconds)) is not None:
            if wanted(line):
                return True
        return False

    def kill(self) -> None:
        """SIGKILL, and read what is left of its ledger."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def children(self) -> list[int]:
        """The processes that it has started: what uploads for it, if anything does."""
        try:
            return [
                int(pid)
                for children in Path(f"/proc/{self.pid}/task").glob("*/children")
                for pid in children.read_text().split()
            ]
        except OSError:  # it, or a thread of it, has ended meanwhile
            return []

    def freeze(self) -> bool:
        """SIGSTOP; whether it stands still now (it may have ended instead)."""
        os.kill(self.pid, signal.SIGSTOP)
        return self.frozen()

    def frozen(self) -> bool:
        """Wait until it is stopped by whomever; False when it ended instead."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._ended = status
        self._drain()
        return os.WIFSTOPPED(status)

    def wake(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, beside: Subject | None = None) -> int:
        """Wait for its end; returns its exit code, or minus the signal's number.

        Who runs `beside` it is listened to meanwhile: a ledger that nobody reads holds its writer up when the pipe is
        full, and a successor that is held up never fences this one off.

        Raises TortureError when it goes on for longer than many times what anything takes.
        """
        deadline = time.monotonic() + 10 * SECONDS
        while self._listen(SECONDS, beside):
            if time.monotonic() > deadline:
                raise TortureError(f"goes on and on; {self.last_words()}")
        if self._ended is None:
            _, self._ended = os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            os.close(self._pipe)
        return os.waitstatus_to_exitcode(self._ended)

    @property
    def ended(self) -> bool:
        """Whether its end has been waited for."""
        return self._ended is not None

    def last_words(self) -> str:
        """The ends of its ledger and of what it wrote to stderr."""
        errors = (self.life.folder / "stderr").read_text(errors="replace")[-3000:]
        lines = "\n".join(" ".join(line) for line in self.lines[-15:])
        return f"ledger of attempt {self.life.attempt}:\n{lines}\nstderr:\n{errors}"

    def _listen(self, seconds: float, beside: Subject | None = None) -> bool:
        """Wait for more of the ledger, and hear who runs beside it out as well; False at its end."""
        deadline = time.monotonic() + seconds
        while True:
            pipes = [self._pipe] if beside is None else [self._pipe, beside._pipe]
            ready, _, _ = select.select(pipes, [], [], max(deadline - time.monotonic(), 0.0))
            if beside is not None and beside._pipe in ready and not beside._drain():
                beside = None
            if self._pipe in ready:
                return self._drain()
            if not ready:
                raise TortureError(f"silent for {seconds:.0f} s; {self.last_words()}")

    def _drain(self) -> bool:
        while True:
            try:
                data = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for raw in lines:
                line = raw.decode().split(" ")
                self.lines.append(line)
                self._unread.append(line)


def open_requests(lines: list[Line]) -> list[Line]:
    """The requests that a ledger has no answer of."""
    answered = {line[1] for line in lines if line[0] == "done"}
    return [line for line in lines if line[0] == "request" and line[1] not in answered]


def outlives(pid: int, seconds: float = 10.0) -> bool:
    """Whether this process is there after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
        except OSError:
            return False
        time.sleep(0.002)
    return True


def spin(seconds: float) -> None:
    """Let a moment pass: the moment of the blow is the chance being taken, not a wait for something."""
    end = time.monotonic() + seconds
    if seconds > 0.001:
        time.sleep(seconds)
    while time.monotonic() < end:
        pass


def fresh_folder(parent: Path, name: str) -> Path:
    """A new folder for a writer."""
    folder = parent / name
    folder.mkdir()
    (folder / "stderr").touch()
    return folder
