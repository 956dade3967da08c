"""Tensors of the real PyTorch, with the 6 GB that the benchmark keeps of it; skipped where nobody has run that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.cache import cache_dir
from tests.unit.state.test_documented_examples import example, run_twice

pytestmark = pytest.mark.integration

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter with torch, which also finds Waypost and what that needs."""
    whole = sorted((cache_dir() / "bench").glob("torch-*/.complete"))
    if not whole:
        pytest.skip("no environment with torch; `make bench` makes one")
    own = [path for path in sys.path if path.endswith("site-packages")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(_ROOT / "sdk"), *own]))
    return str(whole[-1].with_name("bin") / "python")


def test_tensors_of_every_kind_come_back(python: str, tmp_path: Path) -> None:
    program = Path(__file__).with_name("torch_states.py")
    subprocess.run([python, str(program), f"file://{tmp_path}/store"], check=True, timeout=100)


def test_the_example_with_torch_goes_on_where_it_ended(python: str, tmp_path: Path) -> None:
    assert run_twice(example("torch-run"), "torch-run", tmp_path, python) == [5, 4, 3, 2, 1, 0]


def test_a_file_of_torch_save_is_mapped_once_it_is_restored(python: str, tmp_path: Path) -> None:
    program = """
import sys, torch
from pathlib import Path
from waypost import Checkpoints

folder = Path(sys.argv[1])
weights = torch.randn(1 << 20)
torch.save({"weights": weights}, folder / "state.pt")
with Checkpoints(f"file://{folder}/store", attempt=1) as checkpoints:
    checkpoints.save(folder / "state.pt", wait=True)
    checkpoints.restore(folder / "restored")
mapped = torch.load(folder / "restored" / "state.pt", mmap=True)["weights"]
assert torch.equal(mapped, weights)
assert "restored/state.pt" in Path("/proc/self/maps").read_text()
"""
    subprocess.run([python, "-c", program, str(tmp_path)], check=True, timeout=100)
