"""Holes of sparse files: neither copied, uploaded nor written, and restored as holes; bounded whatever is declared."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.store.stepped import SteppedBackend
from tests.unit.store.test_folders import fingerprint
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, CorruptCheckpointError, StorageError
from waypost.store import copying, keys, sources
from waypost.store.entries import Checkpoint
from waypost.store.sources import MIN_HOLE

MIB, GIB = keys.MIB, 1024 * keys.MIB


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend) as opened:
        yield opened


def sparse(path: Path, size: int, **data: bytes) -> Path:
    """A file of this size, with data at offsets given as `at_123`."""
    with open(path, "wb") as file:
        file.truncate(size)
        for name, content in data.items():
            file.seek(int(name.removeprefix("at_")))
            file.write(content)
    return path


def allocated(path: Path) -> int:
    return os.stat(path).st_blocks * 512


def stored(backend: SteppedBackend) -> int:
    return sum(len(backend.objects[key]) for key in backend.packs())


def test_a_sparse_file_of_6_gib_is_saved_and_restored_sparse(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than 5 GiB, the limit of one PUT; by a copy in the background, which stays sparse as well."""
    head, middle, tail = os.urandom(100_000), os.urandom(2 * MIB), os.urandom(10)
    size = 6 * GIB + 5
    source = sparse(tmp_path / "image", size, at_0=head, **{f"at_{3 * GIB + 1}": middle, f"at_{size - 10}": tail})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    copied = copying.copy(sources.look(source))
    assert sum(allocated(path) for path in scratch.rglob("*") if path.is_file()) < 4 * MIB
    copied.close()
    assert store.save(source).result(60).size_bytes == size
    assert stored(backend) < 4 * MIB
    store.restore(tmp_path / "restored")
    restored = tmp_path / "restored" / "image"
    assert allocated(restored) < 4 * MIB
    assert os.stat(restored).st_size == size
    assert os.stat(restored).st_mtime_ns == os.stat(source).st_mtime_ns
    with open(restored, "rb") as file:
        for offset, content in ((0, head), (3 * GIB + 1, middle), (size - 10, tail), (GIB, bytes(MIB))):
            file.seek(offset)
            assert file.read(len(content)) == content


@pytest.mark.parametrize("wait", [True, False], ids=["in place", "by a copy"])
@pytest.mark.parametrize("in_memory", [copying.MAX_IN_MEMORY, 0], ids=["memory", "disk"])
def test_any_layout_of_holes_comes_back_byte_for_byte(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool, in_memory: int
) -> None:
    monkeypatch.setattr(copying, "MAX_IN_MEMORY", in_memory)
    chance = random.Random(5)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        size = chance.choice([0, 1, 4096, MIN_HOLE, MIN_HOLE + 1, 5 * MIB + 3])
        spots = {
            f"at_{chance.randrange(size)}": os.urandom(chance.choice([1, 4096, MIB])) for _ in range(number % 4) if size
        }
        sparse(source / f"{number}", size, **spots)
    store.save(source, wait=wait).result(60)
    store.restore(tmp_path / "restored")
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_file_that_is_nothing_but_a_hole_needs_no_pack(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    store.save(sparse(tmp_path / "hole", 8 * MIB), wait=True)
    assert backend.packs() == []
    assert store.read_bytes() == bytes(8 * MIB)
    store.restore(tmp_path / "restored")
    assert allocated(tmp_path / "restored" / "hole") < MIB


def test_small_holes_are_stored_as_zeros_so_that_manifests_stay_small(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    spots = {f"at_{offset}": b"x" for offset in range(0, 32 * MIB, 256 * keys.KIB)}
    store.save(sparse(tmp_path / "comb", 32 * MIB, **spots), wait=True)
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    assert len(entry.manifest["nodes"][0]["chunks"]) == 32, "one for each MiB, as if there were no holes"
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "comb").read_bytes() == (tmp_path / "comb").read_bytes()


def test_zeros_that_somebody_wrote_are_stored_nowhere(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    """Whether the file system tells of them or not: what comes back is the same."""
    (tmp_path / "zeros").write_bytes(b"x" * MIB + bytes(4 * MIB) + b"y")
    store.save(tmp_path / "zeros", wait=True)
    assert stored(backend) == MIB + 1
    assert store.read_bytes() == b"x" * MIB + bytes(4 * MIB) + b"y"
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "zeros").read_bytes() == (tmp_path / "zeros").read_bytes()


# --- What may be declared --------------------------------------------------------------------------------------------


def declare(store: Checkpoints, backend: SteppedBackend, *lengths: object, size: int | None = None) -> None:
    """A checkpoint of some hundred bytes that declares a file with holes."""
    store.save(b"good!", wait=True)
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    node = {**entry.manifest["nodes"][0], "chunks": [[length] for length in lengths]}
    whole = sum(length for length in lengths if isinstance(length, int)) if size is None else size
    backend.rewrite(2, manifest={"packs": [], "nodes": [node]}, data=None, size=whole)


def test_an_enormous_hole_takes_no_room_on_the_disk_and_none_in_memory(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    declare(store, backend, 2**40)
    with pytest.raises(ConfigurationError, match="more than this machine has memory"):
        store.read_bytes()
    free = shutil.disk_usage(tmp_path).free
    store.restore(tmp_path / "restored")
    restored = tmp_path / "restored" / "_dst_cp"
    assert (os.stat(restored).st_size, allocated(restored)) == (2**40, 0)
    assert shutil.disk_usage(tmp_path).free > free - 100 * MIB


def test_a_hole_larger_than_any_file_is_an_error_of_the_disk_and_leaves_nothing(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    declare(store, backend, 2**63 - 1)
    with pytest.raises(StorageError, match="local disk"):
        store.restore(tmp_path / "restored")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", [0, -1, 2**63, True, None, "5", 1.5, [5]])
def test_a_hole_without_a_sensible_length_is_damage(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path, length: object
) -> None:
    declare(store, backend, length, size=5)
    with pytest.raises(CorruptCheckpointError, match="hole"):
        store.restore(tmp_path / "restored")


def test_holes_count_in_the_size_that_the_entry_states(
    store: Checkpoints, backend: SteppedBackend, tmp_path: Path
) -> None:
    declare(store, backend, 100, size=99)
    with pytest.raises(CorruptCheckpointError, match="lists 100 bytes, its entry says 99"):
        store.restore(tmp_path / "restored")


@pytest.mark.parametrize("wait", [True, False], ids=["in place", "copied"])
def test_a_small_folder_with_a_file_of_nothing_but_a_hole(store: Checkpoints, tmp_path: Path, wait: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sparse(source / "empty", 3 * MIB)
    sparse(source / "ends with one", 4 * MIB, at_1000=b"data")
    store.save(source, wait=wait).result()
    store.restore(tmp_path / "restored")
    assert fingerprint(tmp_path / "restored") == fingerprint(source)
