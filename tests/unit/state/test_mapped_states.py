"""What is restored to a file can be mapped by the libraries of its format, as docs/sdk.md says."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from tests.unit.state.test_documented_examples import example
from waypost import Checkpoints


def test_the_example_reads_a_part_of_a_mapped_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = numpy.arange(1 << 20, dtype="f4").reshape(1 << 10, 1 << 10)
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as checkpoints:
        checkpoints.save({"weights": weights, "epoch": 3}, wait=True)
    monkeypatch.chdir(tmp_path)
    program = example("mapped-run").replace("file:///tmp/mapped-run", f"file://{tmp_path}/store")
    names: dict[str, object] = {}
    exec(program, names)
    assert numpy.array_equal(numpy.asarray(names["first_rows"]), weights[:2])


def test_an_array_in_a_file_of_its_own_is_mapped(tmp_path: Path) -> None:
    array = numpy.arange(1 << 16, dtype="i8")
    numpy.save(tmp_path / "array.npy", array)
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as checkpoints:
        checkpoints.save(tmp_path / "array.npy", wait=True)
        checkpoints.restore(tmp_path / "restored")
    mapped = numpy.load(tmp_path / "restored" / "array.npy", mmap_mode="r")
    assert isinstance(mapped, numpy.memmap)
    assert numpy.array_equal(mapped, array)
