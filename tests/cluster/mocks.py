"""Servers that stand for kinds of places which versitygw is none of, each from a published package.

An S3 that validates every condition and checksum (ministack), an S3 that silently ignores conditions (s3rver), and an
FTP server (pyftpdlib). They are pinned, with hashes, in `programs/mocks`, and installed once into the cache folder by
their ordinary clients (uv, npm), in environments of their own. Everything listens on loopback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from .asking import free_ports, http_status, listens, lost_port
from .cache import cache_dir, locked
from .errors import ClusterError
from .processes import Process, wait_until_ready
from .progress import LongStep
from .s3_service import S3Service
from .temporary import make_folder, remove_folder

_PINS = Path(__file__).parent / "programs" / "mocks"
_ATTEMPTS = 3
_READY_SECONDS = 60.0


class StrictS3(S3Service):
    """An S3 mock that honours every condition."""

    name: ClassVar[str] = "ministack"

    def restart(self) -> None:
        """Start on the same port; what it held is gone, for it holds everything in memory."""
        program = _python_packages() / "bin" / "ministack"
        where = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "SERVICES": "s3"}
        process = self._process = Process.start(self.name, [str(program)], self.folder, where)
        _wait_until_it_answers(self, process)


@dataclasses.dataclass
class LaxS3(S3Service):
    """An S3 mock that ignores If-None-Match, and says nothing."""

    name: ClassVar[str] = "s3rver"
    access_key: str = "S3RVER"
    secret_key: str = "S3RVER"

    def restart(self) -> None:
        """Start (again) on the same port with the same data, and wait until it answers."""
        (self.folder / "data").mkdir(exist_ok=True)
        program = _node_packages() / ".bin" / "s3rver"
        place = ["-d", str(self.folder / "data"), "-a", "127.0.0.1", "-p", str(self.port)]
        process = self._process = Process.start(self.name, [str(program), *place, "--no-vhost-buckets"], self.folder)
        _wait_until_it_answers(self, process)


@contextlib.contextmanager
def ftp(data: Path | None = None) -> Iterator[str]:
    """An FTP server whose anonymous user may write, over a folder that exists or one of its own: its URL."""
    python, folder = _python_packages() / "bin" / "python", make_folder("ftp")
    try:
        if data is None:
            data = folder / "data"
            data.mkdir()
        for attempt in range(1, _ATTEMPTS + 1):
            [port] = free_ports(1)
            place = ["-i", "127.0.0.1", "-p", str(port), "-d", str(data)]
            command = [str(python), "-W", "ignore", "-m", "pyftpdlib", "-w", *place]
            process = Process.start("pyftpdlib", command, folder)
            try:
                asked = functools.partial(listens, "127.0.0.1", port)
                wait_until_ready(f"the FTP server at port {port}", asked, [process], _READY_SECONDS)
            except ClusterError as error:
                if attempt == _ATTEMPTS or not lost_port(error):
                    raise
            else:
                break
        yield f"ftp://127.0.0.1:{port}"
    finally:
        remove_folder(folder)


def _wait_until_it_answers(server: S3Service, process: Process) -> None:
    wait_until_ready(
        f"{server.name} at {server.endpoint}",
        lambda: http_status(f"{server.endpoint}/") is not None,
        [process],
        _READY_SECONDS,
    )


def _python_packages() -> Path:
    """A virtual environment with what requirements.lock pins."""

    def install(folder: Path) -> None:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        target = [
            "--python",
            str(folder / "bin" / "python"),
            "--require-hashes",
            "-r",
            str(_PINS / "requirements.lock"),
        ]
        _run([*uv, "pip", "install", "--quiet", *target])

    return _installed("python", [_PINS / "requirements.lock"], install)


def _node_packages() -> Path:
    """A node_modules folder with what package-lock.json pins."""

    def install(folder: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise ClusterError("the S3 server that ignores conditions (s3rver) needs Node.js and its npm: install them")
        folder.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_PINS / name, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)])

    return _installed("node", [_PINS / "package-lock.json"], install) / "node_modules"


def _installed(kind: str, pins: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """The folder `<cache>/mocks/<kind>-<hash of its pins>`, installed when missing.

    Not under a temporary name first, for a virtual environment holds its own path: a mark says that it is whole.
    """
    digest = sha256(b"".join(path.read_bytes() for path in pins)).hexdigest()[:12]
    folder = cache_dir() / "mocks" / f"{kind}-{digest}"
    mark = folder / ".complete"
    with locked(f"mocks-{kind}"):
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(exist_ok=True)
            with LongStep(f"installing test servers ({kind}), usually about 20 s"):
                install(folder)
            mark.touch()
    return folder


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode != 0:
        raise ClusterError(f"installing test servers failed: {' '.join(command)}\n{done.stdout}{done.stderr}")
