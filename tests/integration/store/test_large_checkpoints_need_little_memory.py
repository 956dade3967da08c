"""A checkpoint larger than the memory it may use is saved and restored: nothing beyond a few packs is held at once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waypost import contract

pytestmark = pytest.mark.integration

SIZE_MIB = 400
ALLOWED_MIB = {"save": 128, "restore": 80}
"""For the interpreter and the storage client (some 45 MiB), and what is on its way: far less than the checkpoint."""

PROGRAM = """
import re, sys
from waypost import Checkpoints

def peak(process):  # not getrusage: its ru_maxrss counts what the parent had before the exec
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open(f"/proc/{process}/status").read())[1]) // 1024

uri, action, path = sys.argv[1:]
mover = 0
with Checkpoints(uri, attempt={"save": 1, "restore": 2}[action]) as store:
    if action == "save":
        store.save(path).result()
        elsewhere = store._writing._elsewhere
        mover = 0 if elsewhere is None else peak(elsewhere.pid)
    else:
        store.restore(path)
print(max(peak("self"), mover))
"""


def peak_mib(uri: str, action: str, path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), uri, action, str(path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "TMPDIR": str(path.parent)},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("uploader", ["process", "thread"])
@pytest.mark.parametrize("place", ["file", "versitygw"], indirect=True)
def test_memory_is_bounded(uri: str, tmp_path: Path, uploader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(contract.ENV_UPLOADER, uploader)
    source = tmp_path / "source"
    source.mkdir()
    block = os.urandom(1 << 20)
    with open(source / "model", "wb") as file:
        for number in range(SIZE_MIB):
            file.write(number.to_bytes(4, "big") + block[4:])
    assert peak_mib(uri, "save", source) < ALLOWED_MIB["save"]
    assert peak_mib(uri, "restore", tmp_path / "restored") < ALLOWED_MIB["restore"]
    assert subprocess.run(["cmp", source / "model", tmp_path / "restored" / "model"], check=False).returncode == 0
