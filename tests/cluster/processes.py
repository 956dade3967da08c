"""Processes that outlive the command that started them, and are ended without ever hitting a stranger.

A cluster is started by one command and stopped by another, so what runs is written down: pid, the kernel's
start time of that pid and the boot it belongs to. Pids are recycled, that triple is not. Ending goes through
a pidfd that is opened first and checked second, so there is no moment at which the number could change hands.
Logs are appended to: the log of the run that failed is what one wants to read after the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ClusterError
from .waiting import WaitError, wait_for

# Children of this very process must be reaped by it; for all others init does that.
_children: set[int] = set()


@dataclass(frozen=True)
class Process:
    """One program that was started, as written down in `<folder>/pids/<name>.json`."""

    name: str
    pid: int
    started: int  # clock ticks since boot
    boot: str
    log: str

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start `command` in a session of its own, its output appended to `<folder>/logs/<name>.log`."""
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        (folder / "pids").mkdir(exist_ok=True)
        log = folder / "logs" / f"{name}.log"
        with log.open("ab") as output:
            output.write(f"---- {time.strftime('%FT%T')} {' '.join(command)}\n".encode())
            output.flush()
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child.returncode = 0  # it may outlive this object, which would complain about that; _reap sees to it
        _children.add(child.pid)
        process = cls(name, child.pid, start_time(child.pid) or 0, boot_id(), str(log))
        (folder / "pids" / f"{name}.json").write_text(json.dumps(asdict(process)))
        return process

    @classmethod
    def recorded(cls, folder: Path) -> list[Process]:
        """The processes written down in `folder`, alive or not."""
        return [cls(**json.loads(path.read_text())) for path in sorted((folder / "pids").glob("*.json"))]

    @property
    def alive(self) -> bool:
        """Whether this very process, not a later one of the same pid, still runs."""
        _reap(self.pid)
        return self.boot == boot_id() and start_time(self.pid) == self.started

    def require_alive(self) -> None:
        """Raise with the end of its log when the program has ended by itself."""
        if not self.alive:
            raise ClusterError(f"{self.name} ended by itself; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """The last lines it wrote."""
        path = Path(self.log)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def forget(self, folder: Path) -> None:
        """Strike it off the record of `folder`: it has ended as it should, and its absence is no fault."""
        (folder / "pids" / f"{self.name}.json").unlink(missing_ok=True)

    def end(self, grace_seconds: float) -> None:
        """End it: SIGTERM, then SIGKILL after the grace; at once with SIGKILL for a grace of 0."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive:
                return
            signal.pidfd_send_signal(handle, signal.SIGTERM if grace_seconds > 0 else signal.SIGKILL)
            if _gone(handle, grace_seconds):
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _gone(handle, 30.0):
                raise ClusterError(f"{self.name} (pid {self.pid}) does not end on SIGKILL")
        except ProcessLookupError:
            return
        finally:
            os.close(handle)
            _reap(self.pid)


def end_all(processes: Sequence[Process], grace_seconds: float) -> None:
    """End several side by side."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda process: process.end(grace_seconds), processes))


def wait_until_ready(what: str, ask: Callable[[], object], processes: Sequence[Process], seconds: float) -> None:
    """Wait until `ask` says yes; fails at once, with the log's end, when one of `processes` ends before."""

    def answer() -> bool:
        for process in processes:
            process.require_alive()
        return bool(ask())

    try:
        wait_for(what, answer, seconds)
    except WaitError as error:
        tails = "\n".join(f"the end of {process.log}:\n{process.tail(8)}" for process in processes)
        raise ClusterError(f"{error}; {tails}") from error


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc_pid_stat(5), field 22); None if it ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] == "Z" else int(after_name[19])


def boot_id() -> str:
    """Identity of the machine's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _reap(pid: int) -> None:
    """Take note of the end of a child, if it has ended."""
    with contextlib.suppress(ChildProcessError):  # another thread did
        if pid in _children and os.waitpid(pid, os.WNOHANG) != (0, 0):
            _children.discard(pid)


def _gone(handle: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
