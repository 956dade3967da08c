"""Restoring into memory: every target holds exactly what its file holds there, and nothing around it is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.stepped import BUDGET, Process, SteppedBackend, World
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.entries import Checkpoint
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.reading_into import Target, read_file, read_into
from waypost.store.tree import Kind, Node

GARBAGE = 0xEE


def stored(
    files: Sequence[Sequence[bytes | int]], backend: SteppedBackend | None = None
) -> tuple[SteppedBackend, Calls, Checkpoint, Manifest]:
    """A store with files of these chunks, all in one pack; a number is a hole of so many bytes."""
    backend = backend or SteppedBackend()
    Process(backend).save(b"something")
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    pack, chunks = b"", []
    for file in files:
        row = []
        for part in file:
            if isinstance(part, int):
                row.append(Chunk.hole(part))
                continue
            row.append(Chunk(0, len(pack), len(part), blake3(part).hexdigest()))
            pack += part
        chunks.append(row)
    name = keys.object_name(1, 9, blake3(pack).hexdigest())
    backend.objects[keys.PACKS + name] = pack
    sizes = [sum(chunk.length for chunk in row) for row in chunks]
    nodes = [Node(str(index).encode(), Kind.FILE, 0o600, 0, size) for index, size in enumerate(sizes)]
    return backend, Calls(backend, World().seams(), BUDGET), entry, Manifest(nodes, chunks, [Pack(name, len(pack))])


def plain(file: Sequence[bytes | int]) -> bytes:
    return b"".join(bytes(part) for part in file)


parts = st.binary(min_size=1, max_size=9) | st.integers(1, 9)


def drawn(files: list[list[bytes | int]], data: st.DataObject) -> tuple[bytearray, bytearray, Sequence[Target]]:
    """Memory, what it is to hold, and some parts of the files that go there, in any order."""
    memory = bytearray([GARBAGE]) * 500
    wanted, targets, at = bytearray(memory), [], 0
    for node, file in enumerate(files):
        content = plain(file)
        edges = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6), f"edges in {node}"))
        for first, last in zip(edges[::2], edges[1::2], strict=False):
            targets.append(Target(node, first, memoryview(memory)[at : at + last - first]))
            wanted[at : at + last - first] = content[first:last]
            at += last - first + 1
    return memory, wanted, data.draw(st.permutations(targets))


@given(st.lists(st.lists(parts, max_size=6), min_size=1, max_size=4), st.data())
def test_whatever_is_asked_for_comes_and_nothing_around_it_is_touched(
    files: list[list[bytes | int]], data: st.DataObject
) -> None:
    _, calls, entry, found = stored(files)
    memory, wanted, targets = drawn(files, data)
    read_into(calls, entry, found, targets)
    assert memory == wanted


def test_only_the_chunks_that_are_needed_are_fetched() -> None:
    backend, calls, entry, found = stored([[b"a" * 400_000, b"b" * 400_000, b"c" * 400_000]])
    backend.requests.clear()
    memory = bytearray(10)
    read_into(calls, entry, found, [Target(0, 400_005, memoryview(memory))])
    assert memory == b"b" * 10
    assert [operation for operation, _ in backend.requests] == ["read_range"]


def test_a_hole_is_zeros_also_in_memory_that_held_something_else() -> None:
    backend, calls, entry, found = stored([[b"ab", 3 * keys.MIB, b"cd"]])
    memory = bytearray([GARBAGE]) * (3 * keys.MIB + 2)
    read_into(calls, entry, found, [Target(0, 1, memoryview(memory))])
    assert memory == b"b" + bytes(3 * keys.MIB) + b"c"
    backend.requests.clear()
    read_into(calls, entry, found, [Target(0, 2, memoryview(memory)[: 2 * keys.MIB])])
    assert not backend.requests
    assert memory[: 2 * keys.MIB] == bytes(2 * keys.MIB)


@pytest.mark.parametrize("file", [[], [b"x"], [5], [b"ab", 3, b"cd"], [4, b"ab"]])
def test_a_file_as_bytes_is_what_it_holds(file: list[bytes | int]) -> None:
    _, calls, entry, found = stored([file])
    content = read_file(calls, entry, found)
    assert type(content) is bytes
    assert content == plain(file)


def test_many_holes_and_many_targets_take_no_more_time_than_both_together() -> None:
    many = 8000
    _, calls, entry, found = stored([[1, b"x"] * many])
    memory = bytearray([GARBAGE]) * many
    targets = [Target(0, 2 * index, memoryview(memory)[index : index + 1]) for index in range(many)]
    began = time.process_time()
    read_into(calls, entry, found, targets)
    assert time.process_time() - began < 3
    assert memory == bytes(many)
