"""A dense file that no single S3 request could hold, saved and restored through a real server in little memory.

    python -m tests.torture.large --gib 5.1

5 GiB is where S3 ends: the largest object of one PUT, and the largest source of a copy. Waypost stays below it by its
packs, of at most 32 MiB. What is saved can't be compressed and has no holes, so all of it travels. Saver and restorer
are processes of their own, whose memory is measured by the kernel; the file is judged by SHA-256 with nothing of
Waypost. It takes disk for three times the size (source, server, restored) and minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import S3Server
from waypost import Checkpoints

BUCKET = "large"
URI = f"s3://{BUCKET}/store"
ALLOWED_MIB = 220
"""As for a checkpoint of 400 MiB (tests/integration/store/test_large_checkpoints_need_little_memory.py)."""
_BLOCK = 1 << 20


def main() -> int:
    """0 when what was restored is what was saved, within the memory allowed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.large", description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=5.1)
    parser.add_argument("--folder", type=Path, help="where there is room; by default the folder for temporary files")
    told = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="waypost-large-", dir=told.folder) as name,
        S3Server.start(BUCKET) as server,
    ):
        os.environ.update(server.environment)
        folder = Path(name)
        source, restored = folder / "source", folder / "restored" / "source"
        size = int(told.gib * 2**30) + 12_345  # ends in the middle of a block, of a chunk and of a pack
        digest = write(source, size)
        if source.stat().st_blocks * 512 < size:
            print("large: the source has holes, or its file system compresses: this shows nothing")
            return 1
        saving = measured("save", _save, source)
        source.unlink()
        restoring = measured("restore", _restore, restored.parent)
        same = digest_of(restored) == digest
        print(f"{size:,} bytes restored, SHA-256 {'the same' if same else 'DIFFERS'}")
        packs = [path.stat().st_size for path in (server.data / BUCKET / "store" / "packs").iterdir()]
        print(f"{len(packs)} packs of {max(packs):,} bytes at most")
        return 0 if same and max(saving, restoring) < ALLOWED_MIB else 1


def write(path: Path, size: int) -> str:
    """Fill a file with bytes that nothing compresses; returns their SHA-256."""
    chance, digest = random.Random(size), hashlib.sha256()
    with open(path, "wb") as file:
        for start in range(0, size, _BLOCK):
            block = chance.randbytes(min(_BLOCK, size - start))
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measured(what: str, action: Callable[[Path], None], path: Path) -> int:
    """Do it in a fresh process; returns the most memory it ever had, in MiB."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(action, path, sending))
    began = time.monotonic()
    process.start()
    sending.close()
    try:
        peak: int = receiving.recv()
    except EOFError:
        peak = sys.maxsize
    process.join()
    seconds = time.monotonic() - began
    if process.exitcode != 0:
        raise SystemExit(f"large: the {what} failed with {process.exitcode}")
    print(f"{what}: {seconds:.0f} s, at most {peak} MiB of memory", flush=True)
    return peak


def _measure(action: Callable[[Path], None], path: Path, sending: multiprocessing.connection.Connection) -> None:
    action(path)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    sending.send(int(found[1]) // 1024)


def _save(path: Path) -> None:
    with Checkpoints(URI, attempt=1) as store:
        store.save(path, wait=True)


def _restore(path: Path) -> None:
    with Checkpoints(URI, attempt=2) as store:
        store.restore(path)


if __name__ == "__main__":
    sys.exit(main())
