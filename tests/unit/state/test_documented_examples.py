"""The examples of docs/sdk.md run as they stand there, twice: the second run goes on where the first one ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from waypost.checkpoints import Checkpoints

_DOCS = Path(__file__).parents[3] / "docs" / "sdk.md"


def example(store: str) -> str:
    """The block of Python that speaks of this store."""
    blocks = re.findall(r"```python\n(.*?)```", _DOCS.read_text("utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if f"file:///tmp/{store}" in block]
    return str(found)


def run_twice(program: str, store: str, folder: Path, python: str) -> list[int | None]:
    """The steps that the store holds afterwards, newest first."""
    program = program.replace(f"file:///tmp/{store}", f"file://{folder}/store")
    for attempt in (1, 2):
        text = program.replace("attempt=1", f"attempt={attempt}").replace("ck.save(state,", "ck.save(state, wait=True,")
        path = {"PYTHONPATH": os.pathsep.join(sys.path)} if python == sys.executable else {}
        subprocess.run([python, "-c", text], check=True, timeout=100, env={**os.environ, **path})
    with Checkpoints(f"file://{folder}/store") as opened:
        return [info.step for info in opened.list()]


def test_the_example_with_numpy_goes_on_where_it_ended(tmp_path: Path) -> None:
    assert run_twice(example("numpy-run"), "numpy-run", tmp_path, sys.executable) == [5, 4, 3, 2, 1, 0]
    with Checkpoints(f"file://{tmp_path}/store") as store:
        found = store.restore_state()
    assert found is not None
    assert (found.state["weights"] == 6).all()
    assert found.state["epoch"] == 5
