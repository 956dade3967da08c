"""Real attempts for the tests: a Python program under the operator's environment, and what the operator would see.

The termination message file is made before the program starts, as the kubelet does, and read back after its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from waypost import contract
from waypost.contract import Document

DEADLINE = 60.0


@dataclass(frozen=True)
class Finished:
    """An ended process; printed in full when a test fails."""

    code: int
    out: str
    err: str
    document: Document | None


@dataclass
class Attempt:
    """One attempt in its pod: a folder for the program, the store, the termination message."""

    folder: Path
    store: str
    number: int = 1
    pod: str = "pod-1"

    @property
    def termination_log(self) -> Path:
        """The file that the kubelet hands over."""
        return self.folder / f"termination-{self.number}-{self.pod}"

    @property
    def env(self) -> dict[str, str]:
        """What the operator injects."""
        return outside() | {
            contract.ENV_CHECKPOINT_DST: self.store,
            contract.ENV_CHECKPOINT_SRC: self.store,
            contract.ENV_ATTEMPT: str(self.number),
            contract.ENV_TASK: "train",
            contract.ENV_NAMESPACE: "default",
            contract.ENV_TASK_UID: "0b5e8f6e-0000-4000-8000-000000000000",
            contract.ENV_POD_UID: self.pod,
            contract.ENV_GRACE_SECONDS: "20",
            contract.ENV_TERMINATION_LOG: str(self.termination_log),
        }

    @property
    def document(self) -> Document | None:
        """The document as it stands in the file."""
        return Document.parse(self.termination_log.read_bytes())

    def program(self, code: str, name: str = "program.py") -> Path:
        """Write the program into the folder."""
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def run(self, code: str, **env: str) -> Finished:
        """Run a script to its end."""
        with self.started([str(self.program(code))], **env) as process:
            return self.end(process)

    def run_command(self, *words: str, **env: str) -> Finished:
        """Run `waypost WORDS` to its end."""
        with self.started(["-m", "waypost.cli", *words], **env) as process:
            return self.end(process)

    @contextlib.contextmanager
    def started(self, words: list[str], **env: str) -> Iterator[subprocess.Popen[str]]:
        """Start Python with these words; whatever happens, it doesn't outlive the block."""
        self.termination_log.touch()
        with subprocess.Popen(
            [sys.executable, *words],
            env=self.env | env,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def end(self, process: subprocess.Popen[str]) -> Finished:
        """Wait for the end of a started process."""
        out, err = process.communicate(timeout=DEADLINE)
        return Finished(process.returncode, out, err, self.document)


def outside() -> dict[str, str]:
    """An environment without a contract, in which Python holds output back as it does by default."""
    hidden = {*contract.ENV_NAMES, "PYTHONUNBUFFERED"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def run_outside(folder: Path, *words: str) -> Finished:
    """Run Python on a laptop: no contract, the folder is the current one."""
    done = subprocess.run(
        [sys.executable, *words],
        env=outside(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, None)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as the condition holds; fails, saying what was waited for, when it never does."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE:.0f} s for {what}"
        time.sleep(0.01)


def terminate(process: subprocess.Popen[str]) -> None:
    """What the kubelet does first."""
    process.send_signal(signal.SIGTERM)
