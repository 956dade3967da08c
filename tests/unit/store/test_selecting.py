"""`restore(select=…)`: exactly the selected part, and no byte fetched for anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.store.stepped import SteppedBackend
from tests.unit.store.test_folders import fingerprint
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError
from waypost.store import keys
from waypost.store.flight import LONGEST


class Counting(SteppedBackend):
    """Counts the bytes of packs that are fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[int] = []

    def part(self, key: str, start: int, length: int) -> bytes:
        data = super().part(key, start, length)
        self.fetched.append(len(data))
        return data


@pytest.fixture
def backend() -> Counting:
    return Counting()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two large files with small ones between, and some depth."""
    source = tmp_path / "source"
    (source / "a" / "deep").mkdir(parents=True)
    (source / "b").mkdir()
    (source / "a" / "deep" / "small").write_text("needle")
    (source / "a" / "before").write_text("before first")
    (source / "a" / "first").write_bytes(os.urandom(3 * keys.MIB))
    (source / "a" / "second").write_text("second")
    (source / "b" / "large").write_bytes(os.urandom(40 * keys.MIB))
    (source / "b" / "link").symlink_to("large")
    (source / "z").write_text("last")
    (source / os.fsdecode(b"\xff\xfe")).write_text("odd name")
    os.chmod(source / "a" / "deep", 0o500)
    os.utime(source / "a", ns=(0, 123_456_789))
    return source


@pytest.fixture
def store(backend: Counting, source: Path) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend) as opened:
        opened.save(source, wait=True)
        yield opened


def test_a_file_comes_at_its_path_with_the_folders_on_the_way(
    store: Checkpoints, backend: Counting, source: Path, tmp_path: Path
) -> None:
    info = store.restore(tmp_path / "out", select="a/deep/small")
    assert info is not None
    found, whole = fingerprint(tmp_path / "out"), fingerprint(source)
    assert set(found) == {b"a", b"a/deep", b"a/deep/small"}
    assert found == {path: whole[path] for path in found}, "modes and times included"
    assert backend.fetched == [len("needle")]


def test_a_folder_comes_with_all_that_is_in_it(
    store: Checkpoints, backend: Counting, source: Path, tmp_path: Path
) -> None:
    store.restore(tmp_path / "out", select=Path("a"))
    found, whole = fingerprint(tmp_path / "out"), fingerprint(source)
    assert found == {path: what for path, what in whole.items() if path == b"a" or path.startswith(b"a/")}
    assert sum(backend.fetched) < 3 * keys.MIB + 300 * keys.KIB


def test_several_parts_are_fetched_by_as_few_requests_as_that_takes(
    store: Checkpoints, backend: Counting, tmp_path: Path
) -> None:
    """Small ones side by side in one request; two that lie far apart in two, without what is between."""
    store.restore(tmp_path / "near", select=["a/second", "z", b"\xff\xfe"])
    assert len(backend.fetched) <= 2
    assert sum(backend.fetched) < keys.MIB
    backend.fetched.clear()
    store.restore(tmp_path / "apart", select=["a/before", "a/second"])
    assert sorted(backend.fetched) == [len("second"), len("before first")], "of one pack, without a/first between them"
    backend.fetched.clear()
    store.restore(tmp_path / "far", select=("a/deep/small", "b/link", "z"))
    assert sorted(os.listdir(tmp_path / "far")) == ["a", "b", "z"]
    assert os.readlink(tmp_path / "far" / "b" / "link") == "large", "a link is itself, and doesn't fetch its target"
    assert len(backend.fetched) == 2
    assert sum(backend.fetched) < keys.MIB


def test_the_whole_checkpoint_is_fetched_once_in_requests_that_pay(
    store: Checkpoints, backend: Counting, tmp_path: Path
) -> None:
    store.restore(tmp_path / "out")
    sizes = [len(backend.objects[key]) for key in backend.packs()]
    assert sum(backend.fetched) == sum(sizes), "nothing twice, and nothing that nobody needs"
    assert len(backend.fetched) <= sum(-(-size // LONGEST) for size in sizes)


def test_a_part_replaces_what_an_earlier_restore_put_there(store: Checkpoints, tmp_path: Path) -> None:
    store.restore(tmp_path / "out")
    store.restore(tmp_path / "out", select="z")
    assert os.listdir(tmp_path / "out") == ["z"]


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("nothing", r"has no 'nothing'; it has: .*a, b, z"),
        (["z", "a/nothing"], "has no 'a/nothing'"),
        ("z/below a file", "has no 'z/below a file'"),
        ("b/link/x", "has no 'b/link/x'"),
        ([], "names nothing"),
        ("", "isn't a plain relative path|is empty"),
        ("/", "is empty"),
        ("/etc/passwd", "isn't a plain relative path"),
        ("../x", "isn't a plain relative path"),
        ("a/../z", "isn't a plain relative path"),
    ],
)
def test_what_the_checkpoint_does_not_have_is_named_and_nothing_is_touched(
    store: Checkpoints, backend: Counting, tmp_path: Path, select: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        store.restore(tmp_path / "out", select=select)
    assert not (tmp_path / "out").exists()
    assert backend.fetched == []


def test_a_trailing_slash_is_no_mistake(store: Checkpoints, tmp_path: Path) -> None:
    store.restore(tmp_path / "out", select="a/deep/")
    assert (tmp_path / "out" / "a" / "deep" / "small").read_text() == "needle"
