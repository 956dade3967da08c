"""One attempt of the program under each system, started as that system's own platform starts it."""

from __future__ import annotations

import abc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.cluster.cache import cache_dir, locked

FLYTEKIT = "1.16.31"
PROGRAM = Path(__file__).with_name("program.py")
_SECONDS = 300.0
_READ_ERROR = """
import sys
from flyteidl.core import errors_pb2
document = errors_pb2.ErrorDocument()
document.ParseFromString(open(sys.argv[1], "rb").read())
error = document.error
print(errors_pb2.ContainerError.Kind.Name(error.kind), error.code, error.message.rpartition("Message:")[2])
"""


@dataclass
class Attempt:
    """How one attempt went."""

    lines: list[str] = field(default_factory=list)
    code: int = 0
    verdict: str = ""
    """What the attempt tells its platform, in the platform's words."""
    seconds: float = 0.0

    @property
    def resumed_from(self) -> list[int] | None:
        """The steps found in what was restored; None when it didn't get there."""
        for line in self.lines:
            if line.startswith("resumed from "):
                found: list[int] = json.loads(line.removeprefix("resumed from "))
                return found
        return None


class System(abc.ABC):
    """A way to run attempts that share one task's storage."""

    name: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, folder: Path, store: str, environment: Mapping[str, str]) -> None:
        self._folder, self._store, self._environment = folder, store, environment
        folder.mkdir(parents=True)
        (folder / "compared.py").write_text(
            PROGRAM.read_text().replace("from waypost.flyte import", f"from {self.module} import")
        )

    @abc.abstractmethod
    def command(self, number: int) -> list[str]:
        """How the platform starts attempt `number`, from 1 on."""

    @abc.abstractmethod
    def verdict(self, number: int, code: int) -> str:
        """What the platform learns at its end."""

    def environment(self, number: int) -> dict[str, str]:
        """What the platform gives it."""
        return {}

    def _without_paths(self, text: str) -> str:
        return " ".join(text.replace(str(self._folder), "...").split())

    def run(self, number: int, steps: int, kill_in_save: tuple[int, float] | None = None, preempt: str = "") -> Attempt:
        """Run one attempt; `kill_in_save` = (step, share): SIGKILL when that share of a save's usual time is over."""
        work = self._folder / f"work-{number}"
        told = {"COMPARE_WORK": str(work), "COMPARE_STEPS": str(steps), "COMPARE_PREEMPT": preempt}
        attempt, began, started = Attempt(), time.monotonic(), 0.0
        process = subprocess.Popen(
            self.command(number),
            cwd=self._folder,
            env={**os.environ, **self._environment, **self.environment(number), **told},
            stdout=subprocess.PIPE,
            stderr=(self._folder / f"stderr-{number}").open("wb"),
            text=True,
        )
        limit = threading.Timer(_SECONDS, process.kill)
        limit.start()
        assert process.stdout is not None
        usual = 0.0
        for raw in process.stdout:
            line = raw.strip()
            if not line.startswith(("resumed", "saving", "saved")):
                continue
            attempt.lines.append(line)
            if line.startswith("saving"):
                started = time.monotonic()
            elif line.startswith("saved"):
                usual = time.monotonic() - started
            if kill_in_save is not None and line == f"saving {kill_in_save[0]}":
                time.sleep(usual * kill_in_save[1])
                process.kill()
        attempt.code = process.wait()
        limit.cancel()
        attempt.seconds = time.monotonic() - began
        attempt.verdict = self.verdict(number, attempt.code)
        return attempt


class Flytekit(System):
    """`pyflyte-execute` with a checkpoint prefix per attempt and that of the one before, as Flyte v1 gives them."""

    name = f"flytekit {FLYTEKIT}"
    module = "flytekit"

    def command(self, number: int) -> list[str]:
        (self._folder / "inputs.pb").write_bytes(b"")
        resolver = "flytekit.core.python_auto_container.default_task_resolver"
        before = f"{self._store}/{number - 1}/_flytecheckpoints" if number > 1 else '""'
        return [
            *(str(flytekit_environment() / "bin" / "pyflyte-execute"), "--inputs", str(self._folder / "inputs.pb")),
            *("--output-prefix", str(self._folder / f"output-{number}")),
            *("--raw-output-data-prefix", str(self._folder / f"raw-{number}")),
            *("--checkpoint-path", f"{self._store}/{number}/_flytecheckpoints", "--prev-checkpoint", before),
            *("--resolver", resolver, "--", "task-module", "compared", "task-name", "train"),
        ]

    def environment(self, number: int) -> dict[str, str]:
        names = {
            "FLYTE_AWS_ENDPOINT": "AWS_ENDPOINT_URL",
            "FLYTE_AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
            "FLYTE_AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
        }
        given = {theirs: self._environment[ours] for theirs, ours in names.items() if ours in self._environment}
        return {"PYTHONPATH": str(self._folder), "FLYTE_ATTEMPT_NUMBER": str(number - 1), **given}

    def verdict(self, number: int, code: int) -> str:
        error = self._folder / f"output-{number}" / "error.pb"
        if not error.exists():
            return "outputs.pb: succeeded" if code == 0 else f"killed ({code}): a system failure, retried"
        python = str(flytekit_environment() / "bin" / "python")
        told = subprocess.run([python, "-c", _READ_ERROR, str(error)], capture_output=True, text=True, check=True)
        return f"error.pb: {self._without_paths(told.stdout)}"


class Waypost(System):
    """`waypost run` under the operator's contract."""

    name = "Waypost"
    module = "waypost.flyte"

    def command(self, number: int) -> list[str]:
        return [sys.executable, "-m", "waypost.cli", "run", "compared.py:train"]

    def environment(self, number: int) -> dict[str, str]:
        return {
            "WAYPOST_CHECKPOINT_DST": self._store,
            "WAYPOST_CHECKPOINT_SRC": self._store,
            "WAYPOST_ATTEMPT": str(number),
            "WAYPOST_POD_UID": f"pod-{number}",
            "WAYPOST_TERMINATION_LOG": str(self._folder / f"termination-{number}"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    def verdict(self, number: int, code: int) -> str:
        raw = (self._folder / f"termination-{number}").read_bytes()
        document = json.loads(raw[:1024])
        told = {key: document[key] for key in ("reason", "message", "completed") if document.get(key)}
        return f"exit {code}, document {self._without_paths(json.dumps(told))}"


def flytekit_environment() -> Path:
    """flytekit in a virtual environment of its own, in the cache; made when missing."""
    folder = cache_dir() / "compare" / f"flytekit-{FLYTEKIT}"
    with locked("compare"):
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            python = str(folder / "bin" / "python")
            install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
            subprocess.run([*install, f"flytekit=={FLYTEKIT}"], check=True)
            (folder / "ready").touch()
    return folder
