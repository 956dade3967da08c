"""The holes keep up with the tree: each still applies. That each is found is what `make holes` shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.simulator.hole import Hole, all_holes

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("hole", all_holes(), ids=lambda hole: hole.name)
def test_it_applies(hole: Hole) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", "--whitespace=nowarn", str(hole.path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stderr}\nmake the same change in the code as it is now, and write it down anew"
