"""Small files are read by two threads, right into the pack: it holds what is new, once, and nothing is mixed up."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.unit.store.stepped import SteppedBackend
from tests.unit.store.test_packing import UPLOAD, quick, unpacked
from waypost.store.keys import KIB
from waypost.store.known import worth_naming
from waypost.store.looking import AT_ONCE
from waypost.store.packing import Stock, pack_content
from waypost.store.sizes import Sizes
from waypost.store.sources import Content, Reader, look
from waypost.store.trails import HEAD

SIZE = 100 * KIB
COUNT = 3 * AT_ONCE + 5


class Watched(Content):
    """A content that notes who opens its files. The first file of each thread waits for another's, if there is one."""

    def __init__(self, folder: Path, *, together: bool = True) -> None:
        found = look(folder)
        super().__init__(found.nodes, found.places, found.copied)
        self.threads: set[threading.Thread] = set()
        self._barrier = threading.Barrier(2 if together else 1)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Reader]:
        if threading.current_thread() not in self.threads:
            self.threads.add(threading.current_thread())
            self._barrier.wait(20)
        with super().open(index) as reader:
            yield reader


def write(folder: Path, files: Sequence[bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number:03}").write_bytes(data)


def by_two() -> bool:
    return False


@pytest.mark.parametrize(("pack", "threads"), [(16 * SIZE, 2), (7 * SIZE + 1, 2), (SIZE, 1)])
def test_of_many_small_files_a_pack_holds_those_that_are_new(tmp_path: Path, pack: int, threads: int) -> None:
    """Whatever its size: behind a file that needn't be sent, the next moves up."""
    backend = SteppedBackend()
    files = [os.urandom(SIZE + number) for number in range(COUNT)]
    files[9] = files[3]
    write(tmp_path, files)
    first = pack_content(
        Watched(tmp_path, together=threads > 1), quick(backend), UPLOAD, Sizes(pack=pack + COUNT), alone=by_two
    )
    assert unpacked(backend, first) == files
    held = worth_naming(first)
    new = [0, 1, 5, 8, 9, AT_ONCE, AT_ONCE + 1, COUNT - 2]
    for number in new:
        files[number] = os.urandom(SIZE + 50 + 3 * number)
    write(tmp_path, files)
    content = Watched(tmp_path, together=threads > 1)
    again = pack_content(content, quick(backend), (1, 2), Sizes(pack=pack + 3 * COUNT), Stock(held), by_two)
    assert unpacked(backend, again) == files
    assert [row[0].head for row in again.chunks] == [data[:HEAD] for data in files]
    sent = {pack.name for pack in again.packs} - {pack.name for pack in first.packs}
    assert sum(pack.size for pack in again.packs if pack.name in sent) == sum(len(files[number]) for number in new)
    assert len(content.threads) == threads


def test_packs_are_those_that_one_thread_makes(tmp_path: Path) -> None:
    write(tmp_path, [os.urandom(SIZE - 7 * number) for number in range(COUNT)])
    backend = SteppedBackend()
    one = pack_content(look(tmp_path), quick(backend), UPLOAD, Sizes(pack=10 * SIZE))
    two = pack_content(Watched(tmp_path), quick(backend), UPLOAD, Sizes(pack=10 * SIZE), alone=by_two)
    assert two == one


def test_a_file_that_changes_before_it_is_read_fails_the_save(tmp_path: Path) -> None:
    write(tmp_path, [os.urandom(SIZE) for _ in range(AT_ONCE)])
    content = Watched(tmp_path)
    (tmp_path / "006").write_bytes(os.urandom(SIZE))
    with pytest.raises(OSError, match="changed while it was being saved"):
        pack_content(content, quick(SteppedBackend()), UPLOAD, alone=by_two)
    assert len(content.threads) == 2


def test_tiny_files_are_left_to_one_thread(tmp_path: Path) -> None:
    """Handing them out would take longer than reading them."""
    write(tmp_path, [os.urandom(KIB) for _ in range(COUNT)])
    content = Watched(tmp_path, together=False)
    pack_content(content, quick(SteppedBackend()), UPLOAD, alone=by_two)
    assert content.threads == {threading.current_thread()}
