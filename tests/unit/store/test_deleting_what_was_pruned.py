"""The deleting behind a save: nothing that is needed, in this order, in no one's way, and killed anywhere."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from tests.unit.store.pruned import ONE, TWO, checkpoint, live, requests
from tests.unit.store.stepped import Process, SteppedBackend, fail, large, lose_answer, read, refuse
from waypost.store import keys
from waypost.store.entries import Checkpoint
from waypost.store.history import STUB_WORTH


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


def test_packs_go_first_and_then_the_stub(backend: SteppedBackend, tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"%04d" % number * 256)
    process = Process(backend, retention=ONE)
    process.save(str(tmp_path))
    process.tidy()
    process.save(b"next")
    before = len(backend.requests)
    process.tidy()
    assert requests(backend, before) == ["get log", "delete packs", "put log"]


def test_the_data_of_a_pruned_entry_go_and_all_else_of_it_stays(backend: SteppedBackend) -> None:
    process = Process(backend, retention=ONE)
    process.save(b"x" * 3 * STUB_WORTH, step=7)
    whole = checkpoint(backend, 2)
    process.save(b"y" * 100)
    process.tidy()
    stub = checkpoint(backend, 2)
    assert (stub.manifest, stub.data) == (None, None)
    assert (stub.sequence, stub.fence, stub.nonce, stub.step, stub.parent, stub.time, stub.live, stub.prunes) == (
        whole.sequence,
        whole.fence,
        whole.nonce,
        whole.step,
        whole.parent,
        whole.time,
        whole.live,
        whole.prunes,
    )
    process.save(b"z")
    before = len(backend.requests)
    process.tidy()
    assert requests(backend, before) == [], "a stub that would free next to nothing is not worth a request"
    assert checkpoint(backend, 3).data == b"y" * 100


def test_an_object_that_a_live_checkpoint_names_is_spared(backend: SteppedBackend) -> None:
    """Rule 5 lets a checkpoint name packs of an earlier one; another program may make use of it."""
    first = Process(backend)
    first.save(large(b"shared"))
    first.save(large(b"other"))
    backend.rewrite(3, manifest=checkpoint(backend, 2).manifest, size=checkpoint(backend, 2).size)
    second = Process(backend, attempt=2, retention=ONE)
    second.tidy()
    second.save(b"tiny")
    second.tidy()
    assert live(backend) == [3, 5], "3 is the base"
    assert second.restore(3, strict=True) == (3, large(b"shared"))


def test_trouble_while_deleting_is_said_once_and_tried_again_behind_the_next_save(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(backend, retention=ONE)
    process.save(large(b"0"))
    process.tidy()
    backend.plan("delete", keys.PACKS, refuse, refuse)
    with caplog.at_level(logging.WARNING, "waypost"):
        for step in range(1, 3):
            process.save(large(b"%d" % step))
            process.tidy()
    assert len([record for record in caplog.records if "delete a pruned checkpoint" in record.message]) == 1
    assert len(backend.packs()) == 3
    process.save(large(b"3"))
    process.tidy()
    assert len(backend.packs()) == 1


def test_a_live_checkpoint_that_cannot_be_read_stops_all_deleting(
    backend: SteppedBackend, caplog: pytest.LogCaptureFixture
) -> None:
    first = Process(backend)
    for content in (b"a", b"b", b"c"):
        first.save(large(content))
    backend.corrupt(keys.log_key(3))
    second = Process(backend, attempt=2, retention=ONE)
    with caplog.at_level(logging.ERROR, "waypost"):
        second.tidy()
        second.save(b"x")
        second.save(b"y")
        second.tidy()
    assert live(backend) == [3, 4, 7], "what can't be judged isn't pruned; 4 is the base"
    assert len(backend.packs()) == 3
    assert "checkpoint 3" in caplog.text


# --- Orphans ---------------------------------------------------------------------------------------------------------


def orphan(backend: SteppedBackend, fence: int, ordinal: int = 1, folder: str = keys.PACKS) -> str:
    key = folder + keys.object_name(fence, ordinal, f"{fence:064x}")
    backend.objects[key] = b"left over"
    return key


def test_orphans_of_lower_fences_are_collected_once_after_the_first_save(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"base"))
    process = Process(backend, attempt=2, retention=TWO)
    assert process.log.fence == 3
    part = "parts/{:020d}-1-3.json"
    backend.objects |= {part.format(fence): b"{}" for fence in (1, 2, 3, 4)}
    lower = [
        part.format(1),
        part.format(2),
        orphan(backend, 1, 99),
        orphan(backend, 2),
        orphan(backend, 1, 98, keys.MANIFESTS),
        orphan(backend, 1, 97, keys.PROBE),
        orphan(backend, 0, 0, keys.PROBE),
    ]
    higher = [
        part.format(3),
        part.format(4),
        orphan(backend, 3, 99),
        orphan(backend, 4),
        orphan(backend, 4, 1, keys.MANIFESTS),
        orphan(backend, 3, 98, keys.PROBE),
    ]
    process.tidy()
    assert set(lower) <= set(backend.objects), "not before it has committed"
    process.save(large(b"x"))
    process.tidy()
    assert not set(lower) & set(backend.objects)
    assert set(higher) <= set(backend.objects), "equal and higher fences may still commit"
    late = orphan(backend, 2, 2)
    process.save(large(b"y"))
    process.tidy()
    assert late in backend.objects, "once per attempt"
    assert read(backend, 2, strict=True) == (2, large(b"base"))


def test_what_ranks_of_lower_fences_said_is_collected_too(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"base"))
    lower, own = keys.part_key(1, 0, 1), keys.part_key(3, 0, 1)
    process = Process(backend, attempt=2, retention=TWO)
    backend.objects |= {lower: b"a seat", own: b"a seat"}
    process.save(large(b"x"))
    process.tidy()
    assert lower not in backend.objects
    assert own in backend.objects, "or a rank could be joined twice"


def test_without_retention_nothing_is_ever_deleted(backend: SteppedBackend) -> None:
    left = orphan(backend, 1)
    for attempt in range(2, 5):
        process = Process(backend, attempt=attempt)
        process.save(large(b"%d" % attempt))
        process.tidy()
    assert left in backend.objects
    assert not [operation for operation, key in backend.requests if operation == "delete" and "probe" not in key]


HOSTILE = (
    "packs/",
    "packs/..",
    "packs/readme.txt",
    "packs/../../etc/passwd",
    f"packs/{'0' * 20}-1-{'a' * 63}",
    f"packs/{'0' * 20}-1-{'A' * 64}",
    f"packs/x{'0' * 20}-1-{'a' * 64}",
    f"packs/{'0' * 20}-1-{'a' * 64}.bak",
    f"packs/{'0' * 20}-1-{'a' * 64}/inner",
    f"packs/{'0' * 20}--1-{'a' * 64}",
    f"{'0' * 20}-1-{'a' * 64}",
    "manifests/",
    "manifests/mine",
    "probe/mine",
    f"probe/{'a' * 32}",
    f"probe/{'0' * 20}-1-{'a' * 64}/inner",
    "parts/",
    "parts/mine.json",
    f"parts/{'0' * 20}-1-1.json.bak",
    f"parts/{'0' * 20}-1-x.json",
    f"parts/{'0' * 20}-1-1.json/inner",
    "log/",
    "other/file",
)


def test_only_keys_of_this_format_are_ever_deleted(backend: SteppedBackend) -> None:
    Process(backend).save(large(b"a"))
    for key in HOSTILE:
        backend.objects[key] = b"somebody's"
    garbage = orphan(backend, 1, 77)
    process = Process(backend, attempt=2, retention=ONE)
    process.save(large(b"b"))
    process.save(large(b"c"))
    process.tidy()
    assert garbage not in backend.objects
    assert set(HOSTILE) <= set(backend.objects)


def test_a_hostile_manifest_leads_no_deletion_elsewhere(backend: SteppedBackend) -> None:
    """The entry is read again when it is deleted, and what isn't a pack's name makes the whole manifest damage."""
    process = Process(backend, retention=ONE)
    process.save(large(b"a"))
    process.tidy()
    backend.rewrite(2, manifest={"packs": [{"name": "../../victim", "size": 1}], "nodes": []})
    process.save(b"b")
    process.tidy()
    deleted = [key for operation, key in backend.requests if operation == "delete" and not key.startswith("probe/")]
    assert deleted == []


@pytest.mark.parametrize("request_number", range(1, 20))
def test_what_was_tried_on_the_place_by_one_who_was_killed_goes_with_the_second_fence(
    backend: SteppedBackend, request_number: int
) -> None:
    """Not with the first: another one may have found no format.json, and still be trying."""
    kill_at(backend, request_number)
    with contextlib.suppress(Killed):
        Process(backend)
    backend.before = lambda operation, key: None
    left = {key for key in backend.objects if key.startswith(keys.PROBE)}
    first = Process(backend, retention=ONE)
    first.save(b"a")
    first.tidy()
    if first.log.fence == 1:
        assert {key for key in backend.objects if key.startswith(keys.PROBE)} == left
    second = Process(backend, attempt=2, retention=ONE)
    second.save(b"b")
    second.tidy()
    assert not [key for key in backend.objects if key.startswith(keys.PROBE)]


# --- Killed in between -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def kill_at(backend: SteppedBackend, request: int) -> None:
    left = request

    def step(operation: str, key: str) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1

    backend.before = step


@pytest.mark.parametrize("request_number", range(14))
def test_a_kill_between_prune_and_deletion_leaves_only_garbage_that_the_next_attempt_collects(
    backend: SteppedBackend, request_number: int
) -> None:
    first = Process(backend, retention=ONE)
    for content in (b"a", b"b"):
        first.save(large(content))
    first.save(b"i" * 3 * STUB_WORTH)
    kill_at(backend, request_number)
    try:
        first.save(large(b"c"))
        first.tidy()
    except Killed:
        pass
    backend.before = lambda operation, key: None
    found = read(backend)
    assert found in ((4, b"i" * 3 * STUB_WORTH), (5, large(b"c")))
    second = Process(backend, attempt=2, retention=ONE)
    assert second.restore() == found
    second.tidy()
    second.save(large(b"d"))
    second.tidy()
    second.save(large(b"e"))
    second.tidy()
    kept = live(backend)
    assert len(kept) == 2, "its base and its newest"
    packs = [pack["name"] for number in kept for pack in checkpoint(backend, number).manifest["packs"]]  # type: ignore[index]
    assert backend.packs() == sorted(keys.PACKS + name for name in packs if name != "inline")
    for sequence in range(1, kept[-1]):
        entry = backend.entry(sequence)
        if isinstance(entry, Checkpoint) and sequence not in kept:
            assert len(entry.encode()) < STUB_WORTH + 1000, f"entry {sequence} has kept its data"


@pytest.mark.parametrize("fault", [fail, lose_answer])
@pytest.mark.parametrize("operation", ["delete", "get", "put", "list"])
def test_no_trouble_of_deleting_fails_a_save(backend: SteppedBackend, operation: str, fault: object) -> None:
    process = Process(backend, retention=ONE)
    for step in range(4):
        process.save(large(b"%d" % step) if step % 2 else b"%d" % step * 3 * STUB_WORTH)
        backend.plan(operation, "", fault, fault)  # type: ignore[arg-type]
        process.tidy()
        backend._plans.clear()
    process.save(b"last")
    process.tidy()
    assert process.restore() == (6, b"last")
    assert backend.packs() == []
