"""Servers that stand for kinds of places which versitygw is none of, each from a published package.

An S3 that validates every condition and checksum (ministack), an S3 that silently ignores conditions (s3rver), and an
FTP server (pyftpdlib). They are pinned, with hashes, in `programs/mocks`, and installed once into the cache folder by
their ordinary clients (uv, npm), in environments of their own. Everything listens on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from .asking import free_ports, http_status, listens, lost_port
from .cache import cache_dir, locked
from .errors import ClusterError
from .processes import Process, wait_until_ready
from .progress import LongStep
from .s3 import REGION, signed_headers
from .temporary import make_folder, remove_folder

_PINS = Path(__file__).parent / "programs" / "mocks"
_ATTEMPTS = 3
_READY_SECONDS = 60.0


@contextlib.contextmanager
def strict_s3(bucket: str) -> Iterator[Mapping[str, str]]:
    """An S3 mock that honours conditions, with an empty bucket: the environment that a client of it needs."""
    program = _python_packages() / "bin" / "ministack"

    def command(folder: Path, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        return [str(program)], {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "s3"}

    with _running("ministack", command, lambda port: http_status(f"http://127.0.0.1:{port}/") is not None) as (_, port):
        client = _client(port, "test", "test")
        url = f"http://127.0.0.1:{port}/{bucket}"
        headers = signed_headers("PUT", url, "test", "test")
        request = urllib.request.Request(url, method="PUT", headers=dict(headers))
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            yield client


@contextlib.contextmanager
def lax_s3(bucket: str) -> Iterator[Mapping[str, str]]:
    """An S3 mock that ignores If-None-Match, with an empty bucket: the environment that a client of it needs."""
    program = _node_packages() / ".bin" / "s3rver"

    def command(folder: Path, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        (folder / "data").mkdir(exist_ok=True)
        place = ["-d", str(folder / "data"), "-a", "127.0.0.1", "-p", str(port)]
        return [str(program), *place, "--no-vhost-buckets", "--configure-bucket", bucket], {}

    with _running("s3rver", command, lambda port: http_status(f"http://127.0.0.1:{port}/") is not None) as (_, port):
        yield _client(port, "S3RVER", "S3RVER")


@contextlib.contextmanager
def ftp() -> Iterator[str]:
    """An FTP server whose anonymous user may write: its URL."""
    python = _python_packages() / "bin" / "python"

    def command(folder: Path, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        (folder / "data").mkdir(exist_ok=True)
        place = ["-i", "127.0.0.1", "-p", str(port), "-d", str(folder / "data")]
        return [str(python), "-W", "ignore", "-m", "pyftpdlib", "-w", *place], {}

    with _running("pyftpdlib", command, lambda port: listens("127.0.0.1", port)) as (_, port):
        yield f"ftp://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(
    name: str,
    command: Callable[[Path, int], tuple[Sequence[str], Mapping[str, str]]],
    ready: Callable[[int], bool],
) -> Iterator[tuple[Path, int]]:
    """The server in a folder of its own, on a port of its own, until the end of the block."""
    folder = make_folder(name)
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            [port] = free_ports(1)
            words, environment = command(folder, port)
            process = Process.start(name, words, folder, environment)
            try:
                wait_until_ready(f"{name} at port {port}", lambda: ready(port), [process], _READY_SECONDS)  # noqa: B023
            except ClusterError as error:
                process.end(grace_seconds=0)
                if attempt == _ATTEMPTS or not lost_port(error):
                    raise
            else:
                break
        yield folder, port
    finally:
        remove_folder(folder)


def _client(port: int, access_key: str, secret_key: str) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": REGION,
    }


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
