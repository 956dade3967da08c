"""A save sends what has changed, and names again only what its own fence's live checkpoints name (rule 5)."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, read
from tests.unit.store.test_appending import LOG, put_foreign
from waypost.errors import StorageError
from waypost.store import keys
from waypost.store.entries import Checkpoint, Prune
from waypost.store.keys import KIB, MIB
from waypost.store.known import Known, Saved, trails_of, worth_naming
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.retention import Retention
from waypost.store.sequences import Sequences
from waypost.store.sizes import Sizes
from waypost.store.tree import Kind, Node

SIZES = Sizes(inline=100, pack=1000)
"""Chunks and packs of 1000 bytes."""
ONE = Retention(keep_last=1)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def data(*parts: int) -> bytes:
    """A thousand bytes for each number: the same for the same number."""
    return b"".join(random.Random(part).randbytes(1000) for part in parts)


def named(backend: SteppedBackend, sequence: int) -> list[str]:
    entry = backend.entry(sequence)
    assert isinstance(entry, Checkpoint)
    assert isinstance(entry.manifest, dict)
    return [keys.PACKS + pack["name"] for pack in entry.manifest["packs"]]


def sent(backend: SteppedBackend) -> int:
    """Packs sent since this was last asked."""
    count = sum(request[0] == "put" and request[1].startswith(keys.PACKS) for request in backend.requests)
    backend.requests.clear()
    return count


def test_only_what_has_changed_is_sent_and_all_comes_back(backend: SteppedBackend) -> None:
    process = Process(backend, sizes=SIZES)
    process.save(data(1, 2, 3, 4))
    assert sent(backend) == 4
    process.save(data(1, 2, 9, 4, 5))
    assert sent(backend) == 2
    process.save(data(1, 2, 9, 4, 5))
    assert sent(backend) == 0
    assert read(backend) == (4, data(1, 2, 9, 4, 5))
    assert read(backend, 2) == (2, data(1, 2, 3, 4))


def test_what_an_earlier_attempt_saved_is_sent_again(backend: SteppedBackend) -> None:
    """Though it is what this one has restored, live, and there: whoever condemns it, this writer may not know yet."""
    Process(backend, sizes=SIZES).save(data(1, 2))
    second = Process(backend, attempt=2, sizes=SIZES)
    assert second.restore() == (2, data(1, 2))
    sent(backend)
    second.save(data(1, 2))
    assert sent(backend) == 2
    assert set(named(backend, 4)).isdisjoint(named(backend, 2))


def test_a_checkpoint_that_is_pruned_while_a_save_names_its_packs_makes_it_send_them_again(
    backend: SteppedBackend,
) -> None:
    process = Process(backend, sizes=SIZES)
    process.save(data(1, 2))
    process.save(data(3))
    live = Sequences.of([3])
    put_foreign(backend, Prune, 4, live=live, prunes=Sequences.of([2]))
    for pack in named(backend, 2):
        del backend.objects[pack]  # the person deletes right away
    sent(backend)
    info = process.save(data(1, 2))
    assert info.sequence == 5
    assert sent(backend) == 2
    assert read(backend) == (5, data(1, 2))


def test_a_save_given_up_that_stands_after_all_prunes_what_the_next_one_was_about_to_name(
    backend: SteppedBackend,
) -> None:
    process = Process(backend, sizes=SIZES, retention=ONE)
    process.save(data(1, 2))
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError) as failure:
        process.save(data(2, 3))
    assert failure.value.outcome == "unknown"
    backend._plans.clear()
    backend.deliver()
    sent(backend)
    process.save(data(1, 2, 3))
    assert backend.log() == ["FENCE", "CHECKPOINT", "CHECKPOINT", "CHECKPOINT"]
    second, third = named(backend, 3), named(backend, 4)
    assert set(second) < set(third), "what the adopted one names may be named"
    assert set(named(backend, 2)) & set(third) == set(named(backend, 2)) & set(second), "and nothing else of the first"
    process.tidy()
    assert read(backend) == (4, data(1, 2, 3))


def test_a_save_of_unknown_outcome_that_never_stands_is_never_named(backend: SteppedBackend) -> None:
    process = Process(backend, sizes=SIZES)
    process.save(data(1))
    backend.plan("put_new", LOG, *[backend.hang] * 50)
    with pytest.raises(StorageError):
        process.save(data(2))
    backend._plans.clear()
    backend.hanging.clear()
    lost = backend.packs()
    process.save(data(2, 3))
    process.save(data(2, 3, 4))
    assert read(backend) == (4, data(2, 3, 4))
    assert set(named(backend, 4)) & (set(lost) - set(named(backend, 2))) == set()


def test_packs_live_as_long_as_a_checkpoint_names_them_and_no_longer(backend: SteppedBackend) -> None:
    """Each save replaces one part in four: what goes is what nobody names, whatever upload it came with."""
    process = Process(backend, sizes=SIZES, retention=ONE)
    parts = [1, 2, 3, 4]
    for number in range(5, 30):
        process.save(data(*parts))
        process.tidy()
        assert sorted(backend.packs()) == sorted(named(backend, number - 3)), "nothing is missing, nothing left over"
        parts[number % 4] = number
    assert read(backend) == (26, data(*[26, 27, 28, 25][-4:])) or read(backend) is not None
    second = Process(backend, attempt=2, sizes=SIZES, retention=ONE)
    second.save(data(1))
    second.tidy()
    assert sorted(backend.packs()) == sorted({*named(backend, 26), *named(backend, 28)}), "the base is kept"
    second.save(data(2))


def test_the_next_attempt_spares_what_is_named_of_an_old_upload_and_collects_the_rest(backend: SteppedBackend) -> None:
    first = Process(backend, sizes=SIZES)
    first.save(data(1, 2, 3))
    first.save(data(1, 9))
    dead = keys.PACKS + keys.object_name(1, 1, "d" * 64)
    backend.objects[dead] = b"of the same upload as the first, and named by nobody"
    second = Process(backend, attempt=2, sizes=SIZES, retention=Retention(keep_last=2))
    second.save(data(7))
    second.tidy()
    assert dead not in backend.objects
    assert read(backend, 3) == (3, data(1, 9))


def test_a_group_of_ranks_names_nothing_again(backend: SteppedBackend) -> None:
    """Rank 0 couldn't send another rank's data once more."""
    process = Process(backend, sizes=SIZES)
    process.handle._uploads._ranks = 2
    process.save(data(1))
    process.save(data(1))
    assert sent(backend) == 2


# --- What is worth naming again --------------------------------------------------------------------------------------


def manifest_of(packs: list[int], *chunks: tuple[int, int, int]) -> Manifest:
    row = [Chunk(pack, offset, length, f"{pack}/{offset}") for pack, offset, length in chunks]
    node = Node(b"f", Kind.FILE, 0o644, 0, sum(chunk.length for chunk in row))
    return Manifest([node], [row], [Pack(f"pack-{number}", size) for number, size in enumerate(packs)])


def test_of_a_pack_that_is_mostly_garbage_nothing_is_named_again() -> None:
    half = manifest_of([10 * MIB, 10 * MIB], (0, 0, 5 * MIB), (1, 0, 5 * MIB - 1))
    assert set(worth_naming(half)) == {"0/0"}


def test_what_occurs_twice_counts_once() -> None:
    assert not worth_naming(manifest_of([10 * MIB], (0, 0, 4 * MIB), (0, 0, 4 * MIB)))


def test_a_restore_stays_below_128_ranges_for_each_gib() -> None:
    """Every second MiB of 64 packs has been replaced: what is named again is what few ranges bring."""
    packs = [25 * MIB] * 64
    worn = [(pack, at * MIB, MIB) for pack in range(48) for at in range(0, 25, 2)]
    whole = [(pack, at * MIB, MIB) for pack in range(48, 64) for at in range(25)]
    known = worth_naming(manifest_of(packs, *worn, *whole))
    assert {f"{pack}/{at}" for pack, at, _ in whole} <= set(known)
    ranges = len(known) - len(whole) + 16
    assert ranges <= 128 * (len(worn) + len(whole)) // 1024


def test_small_gaps_are_no_ranges_of_their_own() -> None:
    chunks = [(0, at * 512 * KIB, 300 * KIB) for at in range(50)]
    assert len(worth_naming(manifest_of([25 * MIB], *chunks))) == 50


def test_five_in_a_hundred_changed_save_after_save_never_send_half_of_it_for_tidiness_in_vain() -> None:
    """A save sends some times what has changed on the average, and what is stored is at most twice what is live."""
    chance = random.Random(1)
    held: dict[str, tuple[Pack, int]] = {}
    content, fresh = list(range(1000)), itertools.count(1000)
    sent, stored = [], []
    for number in range(100):
        for _ in range(50):
            content[chance.randrange(1000)] = next(fresh)
        packs: dict[str, Pack] = {}
        rows, new = [], []
        for part in content:
            if str(part) in held:
                rows.append((held[str(part)], part))
            else:
                new.append(part)
        sent.append(len(new))
        for at, part in enumerate(new):
            pack = Pack(f"{number}-{at // 25}", min(25, len(new) - at // 25 * 25) * MIB)
            rows.append(((pack, at % 25 * MIB), part))
        for (pack, _), _ in rows:
            packs.setdefault(pack.name, pack)
        index = {name: at for at, name in enumerate(packs)}
        row = [Chunk(index[pack.name], offset, MIB, str(part)) for (pack, offset), part in rows]
        node = Node(b"f", Kind.FILE, 0o644, 0, 1000 * MIB)
        packed = Manifest([node], [row], list(packs.values()))
        held = {digest: (found.pack, found.offset) for digest, found in worth_naming(packed).items()}
        stored.append(sum(pack.size for pack in packs.values()) // MIB)
    assert sent[0] == 1000
    assert sum(sent[1:]) / 99 < 500
    assert max(stored) <= 2000


def test_only_the_newest_few_are_remembered() -> None:
    known = Known()
    for number in range(1, 10):
        known.sending(f"n{number}", Saved(frozenset({f"p{number}"}), {}))
        known.stands(number, f"n{number}")
    known.follow(Sequences.of(range(1, 10)))
    assert known.names == {"p6", "p7", "p8", "p9"}
    known.follow(Sequences.of([7]))
    assert known.names == {"p7"}


def test_how_an_older_save_cut_a_file_is_worth_nothing_where_the_newest_one_fell_into_splinters() -> None:
    def cut(count: int, length: int, path: bytes = b"f") -> Manifest:
        row = [Chunk(0, at, length, f"{path!r}{length}/{at}", b"head") for at in range(count)]
        row.append(Chunk(0, count, MIB, f"{path!r}{count}", b"head"))
        return Manifest([Node(path, Kind.FILE, 0o644, 0, count * length + MIB)], [row], [Pack("p", 1)])

    known = Known()
    for number, packed in enumerate([cut(4, MIB), cut(4, MIB, b"other"), cut(1000, 1)], 1):
        known.sending(f"n{number}", Saved(frozenset({f"p{number}"}), {}, trails=trails_of(packed)))
        known.stands(number, f"n{number}")
    trails = known.stock.trails
    assert not trails[b"f"], "or the same splinters would be found again"
    assert len(trails[b"other"]) == 5, "which the newest save doesn't have"
