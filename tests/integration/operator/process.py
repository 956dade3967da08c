"""The operator as it runs for users: `python -m waypost_operator` in a process of its own, that a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

STOP_SECONDS = 30.0


class OperatorProcess:
    """One operator; ended with the `with` block, by SIGKILL if need be."""

    def __init__(self, kubeconfig: Path, log: Path, *arguments: str) -> None:
        self.log = log
        self._kubeconfig = kubeconfig
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> OperatorProcess:
        """Start it (again); its output is appended to the log."""
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig), "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "waypost_operator", "--liveness-port", "0", *self._arguments],
                env=environment,
                stdout=output,
                stderr=output,
            )
        return self

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: the process stands still as on a frozen machine."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def exit_status(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for it to end by itself."""
        assert self._process is not None
        return self._process.wait(seconds)

    def said(self) -> str:
        """Its whole log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, words: str, seconds: float = 30.0) -> None:
        """Until the log contains these words."""
        self.wait_for_count(words, 1, seconds)

    def wait_for_count(self, words: str, count: int, seconds: float = 30.0) -> None:
        """Until the log contains these words so many times."""
        deadline = time.monotonic() + seconds
        while self.said().count(words) < count:
            assert self._process is not None
            ended = self._process.poll()
            assert ended is None, f"the operator ended with status {ended}:\n{self.said()}"
            assert time.monotonic() < deadline, f"the operator did not say {words!r} {count} time(s):\n{self.said()}"
            time.sleep(0.02)

    def __enter__(self) -> OperatorProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
