"""One run of one contestant, in a process of its own, with what it took.

A program is of one of two kinds. A command-line tool is timed from its start to its end. A library's program
(tests.bench.peers) first imports, connects and does what comes before, then writes `ready`, waits for a line, works,
and writes what it measured as JSON: so nobody pays for an interpreter's start. Processor time is the kernel's account
(wait4) at the end of the process, of every child that it waited for, and of those that it left to us, less what all of
them had used before the work. Memory is the sum of what each process of the tree held at most (VmHWM), looked at fifty
times a second: rusage can't be used for it, because a child's maximum begins with that of the process that started it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.accounts import adopt_orphans, cpu_seconds
from tests.bench.environments import module_path
from tests.bench.server import Server

_LOOK_SECONDS = 0.02
_LIMIT_SECONDS = 600.0
_MIB = 1 << 20


class RunError(RuntimeError):
    """A contestant's program failed."""


@dataclass(frozen=True)
class Program:
    """How a contestant is started for one run."""

    command: Sequence[str]
    staged: bool
    """Whether it says `ready`, waits, and reports its own time; else it is a tool that just runs."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What one run took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    child_mib: float
    """What the largest of its child processes held at most: for Waypost, its uploader."""
    requests: Mapping[str, int]
    received: int
    """Bytes of objects that the server received."""
    sent: int
    server_cpu_seconds: float
    extra: Mapping[str, float]

    @property
    def total_requests(self) -> int:
        """Requests of every kind."""
        return sum(self.requests.values())


def measure(program: Program, server: Server, before: Callable[[], None] = lambda: None) -> Measurement:
    """Run it; `before` comes between its `ready` and its work, or right before a tool's start."""
    adopt_orphans()
    environment = {**os.environ, **program.environment, "PYTHONPATH": module_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as errors:
        if not program.staged:
            before()
        server.forget()
        server_before, children_before = server.cpu_seconds(), 0.0
        began = time.perf_counter()
        process = subprocess.Popen(
            program.command,
            env=environment,
            stdin=subprocess.PIPE if program.staged else subprocess.DEVNULL,
            stdout=subprocess.PIPE if program.staged else errors,
            stderr=errors,
            bufsize=0,
        )
        watch = _Watch(process.pid)
        try:
            lines: list[bytes] = []
            if program.staged:
                lines = watch.until_ready(process)
                before()
                server.forget()
                server_before, children_before = server.cpu_seconds(), watch.children_cpu_seconds()
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # it ended before it was ready, and its exit code says why
                    process.stdin.write(b"go\n")
                    process.stdin.close()
            lines += watch.until_end(process)
            seconds = time.perf_counter() - began
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            watch.close()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code != 0:
            errors.seek(0)
            told = errors.read().decode(errors="replace")[-4000:]
            raise RunError(f"`{' '.join(program.command)}` failed with {code}:\n{told}")
        cpu = usage.ru_utime + usage.ru_stime + watch.orphans_cpu_seconds() - children_before
        report: dict[str, Any] = {}
        if program.staged:
            report = json.loads(lines[-1])
            seconds, cpu = report.pop("seconds"), cpu - report.pop("cpu_before")
    counts = server.counts()
    return Measurement(
        seconds,
        cpu,
        watch.peak_mib,
        watch.child_mib,
        counts.requests,
        counts.received,
        counts.sent,
        server.cpu_seconds() - server_before,
        report,
    )


class _Watch:
    """Reads what a process says, and looks at its memory and its children's meanwhile."""

    def __init__(self, pid: int) -> None:
        self._pid, self._handle = pid, os.pidfd_open(pid)
        self._most: dict[int, int] = {}
        self._deadline = time.monotonic() + _LIMIT_SECONDS
        self._text = b""

    @property
    def peak_mib(self) -> float:
        return sum(self._most.values()) / 1024

    @property
    def child_mib(self) -> float:
        return max((most for pid, most in self._most.items() if pid != self._pid), default=0) / 1024

    def until_ready(self, process: subprocess.Popen[bytes]) -> list[bytes]:
        return self._read(process, until=b"ready")

    def until_end(self, process: subprocess.Popen[bytes]) -> list[bytes]:
        return self._read(process, until=None)

    def close(self) -> None:
        os.close(self._handle)

    def children_cpu_seconds(self) -> float:
        """What the children that live have used so far; those that ended are in the process's own account."""
        self._look(self._pid)
        return sum(cpu_seconds(pid) for pid in self._most if pid != self._pid)

    def orphans_cpu_seconds(self) -> float:
        """What children used that the process has left behind, once they have ended."""
        used = 0.0
        for pid in self._most.keys() - {self._pid}:
            with contextlib.suppress(ChildProcessError):  # its own parent has waited for it
                while (account := os.wait4(pid, os.WNOHANG))[0] == 0:
                    if time.monotonic() > self._deadline:
                        raise RunError(f"process {pid}, which it left behind, doesn't end")
                    time.sleep(_LOOK_SECONDS)
                used += account[2].ru_utime + account[2].ru_stime
        return used

    def _read(self, process: subprocess.Popen[bytes], until: bytes | None) -> list[bytes]:
        poller = select.poll()
        poller.register(self._handle, select.POLLIN)
        output = process.stdout.fileno() if process.stdout is not None else None
        if output is not None:
            poller.register(output, select.POLLIN)
        while True:
            self._look(self._pid)
            events = dict(poller.poll(_LOOK_SECONDS * 1000))
            if output is not None and events.get(output, 0) & select.POLLIN:
                self._text += os.read(output, 1 << 16)
                *whole, rest = self._text.split(b"\n")
                if until is not None and until in whole:
                    self._text = rest
                    return []
                continue
            if self._handle in events:
                if until is not None:
                    return []  # it ended before it was ready: the caller sees how
                return [line for line in self._text.split(b"\n") if line]
            if time.monotonic() > self._deadline:
                raise RunError(f"{process.args!r} has not ended after {_LIMIT_SECONDS:.0f} s")

    def _look(self, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_bytes()
            _, found, rest = status.partition(b"VmHWM:")
            if found:
                self._most[pid] = max(self._most.get(pid, 0), int(rest.split(maxsplit=1)[0]))
            for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
                for child in children.read_bytes().split():
                    self._look(int(child))
        except (FileNotFoundError, ProcessLookupError):
            pass


def warm_memory(size: int) -> None:
    """Touch so much memory and let go of it, in a child.

    Pages that a virtual machine never had before, or has given back to its host, come slowly (some 370 MB/s here);
    whoever comes first would pay. What is free for two seconds is given back.
    """
    signals = (signal.SIGTERM, signal.SIGINT)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        # Our handlers would unwind our stack a second time in it, with all that is cleaned up on the way.
        for one in signals:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            with mmap.mmap(-1, size + size // 10 + 64 * _MIB) as memory:
                for offset in range(0, len(memory), mmap.PAGESIZE):
                    memory[offset] = 1
        finally:
            os._exit(0)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
