"""What stands behind an insertion is known again, whatever the format; in vain little is looked for."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.stepped import BUDGET, Process, SteppedBackend, World, read
from tests.unit.store.test_packing import content_of, unpacked
from waypost.store.calls import Calls
from waypost.store.entries import Checkpoint
from waypost.store.keys import KIB, MIB
from waypost.store.known import trails_of, worth_naming
from waypost.store.manifest import Manifest, Pack
from waypost.store.packing import Held, Stock, pack_content
from waypost.store.sizes import Sizes
from waypost.store.trails import Mark, Patience, Trail, followable

Arrays = list[bytes]
SLACK = 21 * KIB
"""A tar ends in up to 10 KiB of zeros, which stand at another place each time."""


def arrays(count: int = 8, seed: int = 1) -> Arrays:
    """One and a half MiB each, floats."""
    chance = np.random.default_rng(seed)
    return [chance.standard_normal(3 * MIB // 16).tobytes() for _ in range(count)]


class Saves:
    """One file, saved again and again by one attempt."""

    def __init__(self, folder: Path) -> None:
        self.backend = SteppedBackend()
        self.process = Process(self.backend, sizes=Sizes())
        self.path = folder / "model"

    def sends(self, content: bytes) -> int:
        """Save it; returns the bytes of the packs that were sent for it."""
        before = dict.fromkeys(self.backend.packs())
        self.path.write_bytes(content)
        self.process.save(self.path)
        return sum(len(self.backend.objects[name]) for name in self.backend.packs() if name not in before)

    def rows(self) -> list[list[tuple[int, str]]]:
        """Of each file as it was saved last, its chunks: length and hash."""
        entry = self.backend.entry(len(self.backend.log()))
        assert isinstance(entry, Checkpoint)
        assert isinstance(entry.manifest, dict)
        return [[(chunk[2], chunk[3]) for chunk in node["chunks"]] for node in entry.manifest["nodes"]]


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    return Saves(tmp_path)


def as_pickle(parts: Arrays, note: str) -> bytes:
    return pickle.dumps({"note": note, "arrays": [np.frombuffer(part) for part in parts]})


def as_keras(parts: Arrays, note: str) -> bytes:
    """A zip, nearly all of which is one file of its own format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("metadata.json"), json.dumps({"keras_version": "3.11"}))
        archive.writestr(zipfile.ZipInfo("config.json"), json.dumps({"config": note}))
        archive.writestr(zipfile.ZipInfo("model.weights.h5"), b"\x89HDF\r\n\x1a\n" + note.encode() + b"".join(parts))
    return file.getvalue()


def as_tar(parts: Arrays, note: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in [("note", note.encode()), *((f"{number}", part) for number, part in enumerate(parts))]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def as_json(parts: Arrays, note: str) -> bytes:
    return json.dumps({"note": note, "trees": [_text(part[: MIB // 2]) for part in parts]}).encode()


@functools.cache
def _text(numbers: bytes) -> str:
    return repr(np.frombuffer(numbers).tolist())


@pytest.mark.parametrize("write", [as_pickle, as_keras, as_tar, as_json])
def test_of_a_file_whose_beginning_grows_little_is_sent_save_after_save(
    saves: Saves, write: Callable[[Arrays, str], bytes]
) -> None:
    parts = arrays()
    first = write(parts, "n")
    assert saves.sends(first) == len(first)
    for number in range(2, 6):
        grown = write(parts, "n" * 700 * number)
        sent = saves.sends(grown)
        print(f"{write.__name__}: {sent / len(grown):.1%} of {len(grown) / MIB:.0f} MiB")
        assert sent <= MIB + 700 * number + SLACK, "one chunk, and what has been added since the first save"
    assert saves.sends(grown) == 0
    assert read(saves.backend) == (6 + 1, grown)


@pytest.mark.parametrize("write", [as_pickle, as_keras, as_tar])
def test_one_changed_array_is_all_that_is_new_although_what_precedes_it_has_grown(
    saves: Saves, write: Callable[[Arrays, str], bytes]
) -> None:
    parts = arrays()
    saves.sends(write(parts, "n"))
    parts[5] = arrays(1, seed=2)[0]
    assert saves.sends(write(parts, "n" * 500)) <= len(parts[5]) + 3 * MIB


def test_what_is_put_in_or_taken_out_is_all_that_is_new(saves: Saves) -> None:
    file = random.Random(1).randbytes(20 * MIB)
    saves.sends(file)
    for at, taken, put in [(7 * MIB + 5, 0, 3 * MIB + 7), (9 * MIB, 5 * MIB + 1, 0), (3 * MIB - 1, 2 * MIB, 4 * MIB)]:
        file = file[:at] + random.Random(at).randbytes(put) + file[at + taken :]
        assert saves.sends(file) <= put + 2 * max(taken, MIB), (at, taken, put)


def test_what_changes_in_its_place_sends_the_chunks_that_it_is_in(saves: Saves) -> None:
    """As on a grid: nothing is lost by looking for what has moved."""
    file = bytearray(random.Random(1).randbytes(24 * MIB + 100))
    saves.sends(bytes(file))
    for places in [(3,), (0, 1, 2, 3, 4, 5, 6), (9, 11, 13, 14), tuple(range(0, 24, 2))]:
        for place in places:
            file[place * MIB + 1000] = (file[place * MIB + 1000] + 1) % 256
        assert saves.sends(bytes(file)) == len(places) * MIB


def test_a_log_that_grows_stays_in_whole_chunks(saves: Saves) -> None:
    log = random.Random(1).randbytes(4 * MIB + 100)
    saves.sends(log)
    for number in range(8):
        log += random.Random(number).randbytes(700)
        assert saves.sends(log) <= MIB, "the last chunk"
    (row,) = saves.rows()
    assert [length for length, _ in row] == [MIB] * 4 + [len(log) - 4 * MIB]


def test_an_insertion_at_the_same_place_again_and_again_leaves_no_splinters(saves: Saves) -> None:
    file, at = random.Random(1).randbytes(8 * MIB), 4 * MIB + 77
    for number in range(8):
        saves.sends(file)
        file = file[:at] + random.Random(number).randbytes(300) + file[at:]
    (row,) = saves.rows()
    assert len(row) <= 8 + 2


def as_npy(megabytes: float) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(int(megabytes * MIB) // 4, "f4"))
    return file.getvalue()


def as_npz(megabytes: float) -> bytes:
    file = io.BytesIO()
    np.savez(file, weights=np.ones(int(megabytes * MIB) // 4, "f4"), step=np.arange(int(megabytes * 100)))
    return file.getvalue()


def as_lines(megabytes: float) -> bytes:
    line = b"2026-11-26 the same as ever".ljust(99) + b"\n"
    return line * (int(megabytes * MIB) // len(line))


@pytest.mark.parametrize(
    ("write", "before", "after"),
    [(as_lines, 2.5, 50)]
    + [(write, *sizes) for write in (as_npy, as_npz, as_lines) for sizes in [(1.5, 3.2), (1.5, 2.3), (7.3, 6.6)]],
)
def test_what_repeats_itself_is_not_cut_into_splinters_one_period_long(
    write: Callable[[float], bytes], before: float, after: float
) -> None:
    """It begins everywhere as it was saved."""
    backend = SteppedBackend()
    calls, stock = Calls(backend, World().seams(), BUDGET), Stock()
    for number, size in enumerate([before, after, after + 0.6, before], 1):
        file = write(size)
        packed = pack_content(content_of(file), calls, (1, number), held=stock)
        (row,) = packed.chunks
        assert len(row) <= 2 * len(file) // MIB + 8
        assert unpacked(backend, packed) == [file]
        stock = Stock(worth_naming(packed), trails_of(packed))


def test_a_file_that_falls_into_splinters_all_the_same_is_cut_on_the_grid() -> None:
    """Each part has grown a little, of a file of many: more places are found than there may be splinters."""
    parts = [random.Random(number).randbytes(1000) for number in range(400)]
    backend, sizes = SteppedBackend(), Sizes(pack=1000)
    calls = Calls(backend, World().seams(), BUDGET)
    first = pack_content(content_of(b"".join(parts)), calls, (1, 1), sizes)
    grown = b"".join(b"%07d" % number + part for number, part in enumerate(parts))
    stock = Stock({chunk.digest: Held(Pack("p", 1000), 0) for chunk in first.chunks[0]}, trails_of(first))
    (row,) = pack_content(content_of(grown), calls, (1, 2), sizes, stock).chunks
    splinters = [chunk for chunk in row[:-1] if chunk.length < 250]
    assert 16 < len(splinters) <= 16 + len(grown) // 4000


def test_where_a_chunk_was_found_it_is_cut_and_none_that_begins_like_it() -> None:
    head = random.Random(1).randbytes(64)
    marks = [Mark(head, length, digest) for length, digest in [(900, "a"), (1000, "b"), (700, "c"), (1000, "d")]]
    trail = Trail(marks, "abcd", 1000, 10**4, Patience(10))
    data = bytes(50) + head + bytes(950)
    assert trail.search(data, 10**4, lambda at, length: "c" if length == 700 else "another") == 50
    trail.passed("new")
    assert trail.guess(memoryview(data[50:]), 10**4 - 50) == 700
    trail.passed("c")
    assert trail.guess(memoryview(data[50:]), 10**4 - 750) == 1000


def test_the_short_chunk_at_the_end_of_a_file_is_found_at_its_end_only() -> None:
    """Elsewhere it has grown: what is there is cut as new."""
    mark = Mark(b"ab" * 32, 500, "end")
    data = b"x" + b"ab" * 500
    for rest, at in [(10**4, None), (len(data), len(data) - 500), (len(data) - 1, None)]:
        trail = Trail([mark], {"end"}, 1000, 10**4, Patience(10))
        assert trail.search(data, rest, lambda at, length: "end") == at


class Counting(bytes):
    """Knows how often it was searched."""

    finds = 0

    def find(self, *what: Any) -> int:
        Counting.finds += 1
        return super().find(*what)


def test_a_file_of_which_nothing_is_left_is_soon_not_searched_any_more() -> None:
    marks = [Mark(random.Random(number).randbytes(64), 1000, f"{number}") for number in range(500)]
    patience = Patience(10**6)
    data, searched = Counting(random.Random(-1).randbytes(1000)), []
    for _ in range(3):
        trail = Trail(marks, {mark.digest for mark in marks}, 1000, 10**6, patience)
        Counting.finds = 0
        for _ in range(500):
            if trail.may_search():
                assert trail.search(data, 10**6, lambda at, length: "another") is None
            trail.passed("new")
        searched.append(Counting.finds)
    assert searched[0] <= 24 * 8
    assert searched[1] == searched[2] <= 6 * 8
    assert searched[2] > 0, "the next file may be of another kind"


def test_a_file_in_splinters_is_cut_anew() -> None:
    whole = [Mark(b"head", 1000, "") for _ in range(200)]
    assert followable(whole)
    assert not followable([*whole, *(Mark(b"head", 1, "") for _ in range(300))])


BLOCKS = [random.Random(number).randbytes(70) for number in range(4)] + [bytes(70), b"ab" * 40, b"x"]
REPEATED = st.integers(1, 40).map(lambda count: b"ab" * 40 * count)


@given(st.lists(st.sampled_from(BLOCKS), max_size=40) | st.lists(REPEATED, max_size=2), st.data())
def test_whatever_the_trail_every_byte_comes_back(blocks: list[bytes], data: st.DataObject) -> None:
    after = list(blocks)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(after)))
        after[at : at + data.draw(st.integers(0, 5))] = data.draw(
            st.lists(st.sampled_from(BLOCKS) | REPEATED, max_size=4)
        )
    backend, sizes = SteppedBackend(), Sizes(pack=data.draw(st.sampled_from([100, 170, 700])))
    calls = Calls(backend, World().seams(), BUDGET)
    first = pack_content(content_of(b"".join(blocks)), calls, (1, 1), sizes)
    stock = Stock(worth_naming(first), data.draw(st.just(trails_of(first)) | st.just(lied_about(first))))
    second = pack_content(content_of(b"".join(after)), calls, (1, 2), sizes, stock)
    assert unpacked(backend, second) == [b"".join(after)]
    size, chunk = len(b"".join(after)), min(sizes.pack, max(len(b"".join(after)), 1))
    assert len(second.chunks[0]) <= 4 * size // chunk + 16 + size // chunk // 4 + 2
    assert unpacked(backend, first) == [b"".join(blocks)]


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([100, 170, 700]))
def test_of_content_that_repeats_itself_there_are_about_as_many_chunks_as_on_the_grid(
    before: int, after: int, pack: int
) -> None:
    backend = SteppedBackend()
    calls = Calls(backend, World().seams(), BUDGET)
    first = pack_content(content_of(b"ab" * before), calls, (1, 1), Sizes(pack=pack))
    stock = Stock(worth_naming(first), trails_of(first))
    second = pack_content(content_of(b"ab" * after), calls, (1, 2), Sizes(pack=pack), stock)
    assert unpacked(backend, second) == [b"ab" * after]
    assert len(second.chunks[0]) <= 2 * after // pack + 16


def lied_about(packed: Manifest) -> dict[bytes, list[Mark]]:
    """Heads and hashes that don't belong together."""
    marks = [mark for trail in trails_of(packed).values() for mark in trail]
    return {b"0": [Mark(a.head, b.length, b.digest) for a, b in itertools.pairwise(marks * 2)]}
