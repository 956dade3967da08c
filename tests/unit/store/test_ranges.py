"""What a restore asks for: every wanted chunk in exactly one request, by as few as pay, and none too long."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from waypost.store.keys import KIB, MAX_PACK, MIB
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.ranges import Request, Wanted, requests
from waypost.store.tree import Kind, Node

DIGEST = "0" * 64


def of(*files: Sequence[Chunk], packs: int = 2) -> Manifest:
    nodes = [Node(f"{index}".encode(), Kind.FILE, 0o600, 0, sum(c.length for c in f)) for index, f in enumerate(files)]
    return Manifest(nodes, files, [Pack(f"pack {index}", MAX_PACK) for index in range(packs)])


def at_most(size: int) -> Callable[[], int]:
    return lambda: size


def spans(found: Sequence[Request]) -> list[tuple[str, int, int]]:
    return [(request.pack.name, request.start, request.length) for request in found]


def row(pack: int, *lengths: int) -> list[Chunk]:
    """Chunks side by side."""
    return [Chunk(pack, sum(lengths[:index]), length, DIGEST) for index, length in enumerate(lengths)]


def test_neighbours_travel_together_up_to_the_longest_request() -> None:
    found = list(requests(of(row(0, *[MIB] * 8)), at_most(4 * MIB)))
    assert spans(found) == [("pack 0", 0, 5 * MIB), ("pack 0", 5 * MIB, 3 * MIB)]


def test_a_small_rest_travels_along_rather_than_by_itself() -> None:
    assert spans(list(requests(of(row(0, 4 * MIB, 10)), at_most(4 * MIB)))) == [("pack 0", 0, 4 * MIB + 10)]


def test_a_chunk_longer_than_any_request_is_one_by_itself() -> None:
    found = list(requests(of(row(0, 10, 16 * MIB, 10)), at_most(4 * MIB)))
    assert spans(found) == [("pack 0", 0, 10), ("pack 0", 10, 16 * MIB), ("pack 0", 10 + 16 * MIB, 10)]


def test_a_small_gap_is_fetched_and_a_large_one_isn_t() -> None:
    near, far = Chunk(0, 10 + 256 * KIB, 5, DIGEST), Chunk(0, 16 + 512 * KIB, 5, DIGEST)
    found = list(requests(of([Chunk(0, 0, 10, DIGEST), near, far]), at_most(4 * MIB)))
    assert spans(found) == [("pack 0", 0, 15 + 256 * KIB), ("pack 0", 16 + 512 * KIB, 5)]


def test_only_chunks_with_a_part_in_a_span_are_fetched() -> None:
    file = [Chunk.hole(MIB), *row(0, *[MIB] * 4), Chunk(1, 0, MIB, DIGEST)]
    only = {0: [(0, 10), (2 * MIB, 2 * MIB + 1), (4 * MIB - 1, 4 * MIB)]}
    assert spans(list(requests(of(file, file), at_most(MIB), only))) == [("pack 0", MIB, MIB), ("pack 0", 2 * MIB, MIB)]
    assert not list(requests(of(file), at_most(MIB), {0: [(0, MIB)]})), "nothing but a hole"
    assert not list(requests(of(file), at_most(MIB), {0: [(MIB, MIB)], 7: [(0, 9)]})), "nothing at all"


def test_what_stands_in_several_places_is_fetched_once() -> None:
    again = row(0, MIB, MIB)
    (request,) = requests(of(again, again, [again[1]]), at_most(2 * MIB))
    assert (request.start, request.length, len(request.parts)) == (0, 2 * MIB, 5)


chunks = st.builds(
    Chunk, st.integers(0, 1), st.integers(0, 3 * MIB), st.integers(1, 2 * MIB), st.just(DIGEST)
) | st.builds(Chunk.hole, st.integers(1, MIB))


@given(st.lists(st.lists(chunks, max_size=12), max_size=4), st.integers(1, 4 * MIB))
def test_every_chunk_is_in_exactly_one_request_whatever_the_manifest_says(files: list[list[Chunk]], most: int) -> None:
    wanted = []
    for node, file in enumerate(files):
        offset = 0
        for chunk in file:
            if not chunk.is_hole:
                wanted.append(Wanted(chunk, node, offset))
            offset += chunk.length
    found = list(requests(of(*files), at_most(most)))

    def order(part: Wanted) -> tuple[int, ...]:
        return (part.node, part.offset)

    assert sorted((part for request in found for part in request.parts), key=order) == sorted(wanted, key=order)
    for request in found:
        assert request.length <= MAX_PACK
        for part in request.parts:
            assert request.start <= part.chunk.offset
            assert part.end <= request.start + request.length
    for one, next_one in itertools.pairwise(found):
        if one.pack == next_one.pack:
            assert one.start + one.length <= next_one.start, "no byte is fetched twice"
