"""Python environments for the peers, away from the project's own: pinned with hashes, made once in the cache folder.

Each is what a lock file in programs/peers says; `uv pip compile --generate-hashes NAME.in -o NAME.lock` in that folder
renews it (with --no-header --no-emit-index-url --no-emit-find-links).
"""

from __future__ import annotations

import enum
import functools
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from tests.cluster.cache import cache_dir, locked
from tests.cluster.errors import ClusterError
from tests.cluster.progress import LongStep

_PINS = Path(__file__).parent / "programs" / "peers"
_COMPILED = "--compile-bytecode"
"""Nobody pays for compiling what they import: tools are timed from their start, and libraries import late, too."""
_ROOT = Path(__file__).parents[2]


class Environment(enum.Enum):
    """Whose packages a program runs with."""

    OWN = "own"
    """The project's own, which runs the benchmark itself."""
    LIBRARIES = "libraries"
    TORCH = "torch"

    @property
    def folder(self) -> Path:
        """The environment's folder, made when it is missing."""
        return Path(sys.prefix) if self is Environment.OWN else _installed(self.value)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return sys.executable if self is Environment.OWN else str(self.folder / "bin" / "python")

    def module(self, name: str, *arguments: str) -> tuple[str, ...]:
        """The command that runs a module of tests.bench.peers in it."""
        return (self.python, "-m", f"tests.bench.peers.{name}", *arguments)


def module_path() -> str:
    """PYTHONPATH for every program: the peers' programs, and Waypost as it stands in this tree."""
    return os.pathsep.join([str(_ROOT), str(_ROOT / "sdk")])


@functools.cache
def _installed(name: str) -> Path:
    """Not made under a temporary name first, for a virtual environment holds its own path: a mark says it is whole."""
    lock = _PINS / f"{name}.lock"
    digest = sha256(lock.read_bytes() + _COMPILED.encode()).hexdigest()[:12]
    folder = cache_dir() / "bench" / f"{name}-{digest}"
    mark = folder / ".complete"
    with locked(f"bench-{name}"):
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(exist_ok=True)
            with LongStep(f"installing the peers ({name}) for the benchmark"):
                uv = [sys.executable, "-m", "uv"]
                _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
                target = ["--python", str(folder / "bin" / "python"), "--require-hashes", "-r", str(lock), _COMPILED]
                _run([*uv, "pip", "install", "--quiet", *target])
            mark.touch()
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode != 0:
        raise ClusterError(f"installing the peers failed: {' '.join(command)}\n{done.stdout}{done.stderr}")
