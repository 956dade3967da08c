"""Several ranks of one attempt: one checkpoint of all of them or none, and never of two executions (rule 12, H10)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.unit.store.crew import Ranks, folders, together
from tests.unit.store.stepped import Process, SteppedBackend, format_file, large, lose_answer, read, refuse
from waypost.errors import (
    AttemptRefusedError,
    CompletedError,
    ConfigurationError,
    FencedError,
    StorageError,
)
from waypost.store import keys, parts
from waypost.store.entries import Checkpoint, Fence
from waypost.store.group import Group


@pytest.fixture
def backend() -> SteppedBackend:
    made = SteppedBackend()
    made.objects[keys.FORMAT_KEY] = format_file()
    return made


# --- One checkpoint of all -------------------------------------------------------------------------------------------


def test_the_ranks_share_the_fence_of_rank_0_and_commit_one_checkpoint(backend: SteppedBackend) -> None:
    ranks = Ranks(backend, 3)
    assert [process.log.fence for process in ranks.processes] == [1, 1, 1]
    fence = backend.entry(1)
    assert isinstance(fence, Fence)
    assert (fence.group, fence.ranks) == ("a", 3)
    infos = ranks.save([b"zero", large(b"one"), b""], step=7)
    assert infos[0] == infos[1] == infos[2]
    assert backend.log() == ["FENCE", "CHECKPOINT"]
    assert folders(backend, 2) == {"0/_dst_cp": b"zero", "1/_dst_cp": large(b"one"), "2/_dst_cp": b""}
    assert [process.told for process in ranks.processes] == [[infos[0]]] * 3


def test_a_tiny_save_of_a_single_writer_still_stands_in_its_entry(backend: SteppedBackend) -> None:
    Process(backend).save(b"tiny")
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    assert (entry.data, entry.ranks, entry.ordinal) == (b"tiny", None, None)


def test_save_after_save_is_committed_under_names_that_no_rank_shares(backend: SteppedBackend) -> None:
    ranks = Ranks(backend, 3)
    for step in range(4):
        ranks.save([b"same"] * 3, step)
    assert backend.log() == ["FENCE"] + ["CHECKPOINT"] * 4
    assert len(backend.packs()) == 12
    assert [entry.parent for n in range(2, 6) if isinstance(entry := backend.entry(n), Checkpoint)] == [None, 2, 3, 4]


def test_what_the_ranks_no_longer_need_is_removed(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    for step in range(3):
        ranks.each(lambda process, rank: process.restore())
        ranks.save([b"0", b"1"], step)
    left = sorted(key for key in backend.objects if key.startswith(keys.PARTS))
    seat = keys.part_key(1, parts.JOINING, 1)
    assert seat in left, "the seat stays, or a single rank could rejoin"
    assert left == sorted([seat, *(keys.part_key(1, ordinal, 0) for ordinal in (1, 3, 5))]), "and what rank 0 said last"


def test_a_list_of_files_too_long_for_an_entry_is_combined_too(backend: SteppedBackend, tmp_path: Path) -> None:
    for number in range(900):
        (tmp_path / f"file-{number}").write_bytes(b"%d" % number)
    ranks = Ranks(backend)
    ranks.each(lambda process, rank: process.save(tmp_path))
    found = folders(backend, 2)
    assert len(found) == 1800
    assert found["1/file-899"] == b"899"
    manifests = [key for key in backend.objects if key.startswith(keys.MANIFESTS)]
    assert len(manifests) == 1, "the members' own lists are gone"


# --- Or none ---------------------------------------------------------------------------------------------------------


def test_a_part_whose_answers_are_lost_may_be_committed_so_its_rank_does_not_say_not_saved(
    backend: SteppedBackend,
) -> None:
    """Rule 13, for a rank above 0: found by the simulator."""
    ranks = Ranks(backend)
    backend.plan("put", keys.PARTS, *[lose_answer] * 1000)
    outcome = ranks.save([b"0", b"1"])
    assert backend.log() == ["FENCE", "CHECKPOINT"]
    assert isinstance(outcome[1], StorageError)
    assert outcome[1].outcome == "unknown"


def test_a_missing_rank_means_no_commit_and_is_named(backend: SteppedBackend) -> None:
    ranks = Ranks(backend, 3)
    outcome = together(backend, [lambda: ranks[0].save(b"0", 1), lambda: ranks[1].save(b"1", 1)])
    assert backend.log() == ["FENCE"]
    assert isinstance(outcome[0], StorageError)
    assert "nothing came from rank 2 of 3" in str(outcome[0])
    assert outcome[0].outcome == "not saved"
    assert isinstance(outcome[1], StorageError)
    assert outcome[1].outcome == "unknown"


def test_ranks_that_never_opened_the_store_are_told_apart(backend: SteppedBackend) -> None:
    alone = Process(backend, pod="pod", group=Group("a", 0, 3))
    with pytest.raises(StorageError, match=r"ranks 1, 2 of 3.*ranks 1, 2 never opened the store.*without group="):
        alone.save(b"0")


def test_ranks_out_of_step_commit_nothing(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    outcome = ranks.each(lambda process, rank: process.save(b"x", step=rank))
    assert isinstance(outcome[0], ConfigurationError)
    assert "rank 1 saves step 1, rank 0 step 0" in str(outcome[0])
    assert backend.log() == ["FENCE"]


def test_a_rank_that_restores_while_another_saves_is_named(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    outcome = together(backend, [lambda: ranks[0].save(b"x"), lambda: ranks[1].restore()])
    assert isinstance(outcome[0], ConfigurationError)
    assert "rank 1 begins a restore, rank 0 a save" in str(outcome[0])


def test_a_save_that_rank_0_could_not_commit_is_not_the_last_one(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    backend.plan("put_new", keys.LOG, refuse)
    lost = ranks.save([b"0", b"1"], 1)
    assert [error.outcome for error in lost] == ["not saved", "unknown"]
    fine = ranks.save([b"0", b"1"], 2)
    assert fine[0] == fine[1]
    assert backend.log() == ["FENCE", "CHECKPOINT"]


@pytest.mark.parametrize("fault", ["lost", "hung"])
def test_an_answer_of_the_commit_that_gets_lost_changes_nothing(backend: SteppedBackend, fault: str) -> None:
    ranks = Ranks(backend)
    backend.plan("put_new", keys.LOG, lose_answer if fault == "lost" else backend.hang)
    infos = ranks.save([b"0", b"1"])
    assert infos[0] == infos[1]
    backend.deliver()
    assert backend.log() == ["FENCE", "CHECKPOINT"]


# --- Never of two executions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["a", "b"], ids=["the same token", "a token of its own"])
def test_a_part_of_an_earlier_execution_is_never_mixed_in(backend: SteppedBackend, token: str) -> None:
    """H10: the ranks are started again in their pod; the same attempt, step and rank are no reason."""
    before = Ranks(backend)
    outcome = together(backend, [lambda: before[1].save(b"old 1", 1)])
    assert isinstance(outcome[0], StorageError)
    after = Ranks(backend, token=token)
    assert [process.log.fence for process in after.processes] == [2, 2]
    outcome = together(backend, [lambda: after[0].save(b"new 0", 1)])
    assert isinstance(outcome[0], StorageError)
    assert "nothing came from rank 1" in str(outcome[0])
    assert backend.log() == ["FENCE", "FENCE"]


def test_a_rank_of_an_earlier_execution_is_fenced_like_its_rank_0(backend: SteppedBackend) -> None:
    before = Ranks(backend)
    Ranks(backend)
    outcome = before.save([b"0", b"1"])
    assert [type(error) for error in outcome] == [FencedError, FencedError]
    with pytest.raises(FencedError):
        before[1].save(b"and for ever")


def test_a_new_rank_does_not_join_the_fence_of_an_execution_that_is_over(backend: SteppedBackend) -> None:
    """Even with the same token: the seat is taken, so it waits for its own rank 0."""
    Ranks(backend)

    def late_rank_0() -> Process:
        for _ in range(20):
            backend.list("nothing/")
        return Process(backend, 1, "pod", group=Group("a", 0, 2))

    after = together(backend, [partial(Process, backend, 1, "pod", group=Group("a", 1, 2)), late_rank_0])
    assert [process.log.fence for process in after] == [2, 2]


def test_a_single_rank_can_not_rejoin(backend: SteppedBackend) -> None:
    Ranks(backend)
    with pytest.raises(StorageError, match=r"rank 1 is another process, and one can't rejoin"):
        Process(backend, 1, "pod", group=Group("a", 1, 2))


@pytest.mark.parametrize("fault", ["lost", "hung"])
def test_a_seat_whose_answer_gets_lost_is_ones_own(backend: SteppedBackend, fault: str) -> None:
    Process(backend, 1, "pod", group=Group("a", 0, 2))
    backend.plan("put_new", keys.PARTS, lose_answer if fault == "lost" else backend.hang)
    assert Process(backend, 1, "pod", group=Group("a", 1, 2)).log.fence == 1


@pytest.mark.parametrize(
    ("fence", "complaint"),
    [
        (None, "it hasn't opened the store"),
        ((1, "pod", None), "of no group"),
        ((1, "pod", Group("b", 0, 2)), "of the group 'b'"),
        ((1, "pod", Group("a", 0, 3)), "speaks of 3 ranks, and this process was told 2"),
        ((1, "elsewhere", Group("a", 0, 2)), "in pod elsewhere"),
    ],
)
def test_a_rank_whose_rank_0_does_not_come_says_so(
    backend: SteppedBackend, fence: tuple[int, str, Group | None] | None, complaint: str
) -> None:
    if fence is not None:
        Process(backend, fence[0], fence[1], group=fence[2])
    with pytest.raises(StorageError, match=complaint) as caught:
        Process(backend, 1, "pod", group=Group("a", 1, 2))
    assert "'a'" in str(caught.value)


def test_a_rank_of_a_lower_attempt_is_refused_as_its_rank_0_would_be(backend: SteppedBackend) -> None:
    Process(backend, attempt=5)
    with pytest.raises(AttemptRefusedError) as caught:
        Process(backend, 4, "pod", group=Group("a", 1, 2))
    assert caught.value.highest_attempt == 5


def test_packs_that_are_not_the_ranks_own_are_never_named(backend: SteppedBackend) -> None:
    """Rule 5, for all ranks: of this fence, of that rank, of this save."""
    ranks = Ranks(backend)
    ranks.save([b"0", b"1"], 1)
    of_first = next(pack for pack in backend.packs() if pack.split("-")[1] == "3")
    key = keys.part_key(1, 2, 1)

    def lie(execute: Callable[[], None]) -> None:
        """A mistaken rank names the pack of its save before."""
        execute()
        part = parts.decode(backend.objects[key])
        assert isinstance(part.manifest, dict)
        [pack] = part.manifest["packs"]
        pack["name"] = of_first.removeprefix(keys.PACKS)
        backend.objects[key] = part.encode()

    backend.plan("put", key, lie)
    outcome = ranks.save([b"0", b"1"], 2)
    assert isinstance(outcome[0], StorageError)
    assert "aren't its own" in str(outcome[0])
    assert backend.log() == ["FENCE", "CHECKPOINT"]


# --- Restoring -------------------------------------------------------------------------------------------------------


def test_each_rank_restores_its_own_part_of_the_same_checkpoint(backend: SteppedBackend) -> None:
    Ranks(backend).save([b"zero", large(b"one")], 1)
    after = Ranks(backend, token="b")
    assert after.each(lambda process, rank: process.restore()) == [(2, b"zero"), (2, large(b"one"))]
    after.save([b"next 0", b"next 1"], 2)
    entry = backend.entry(4)
    assert isinstance(entry, Checkpoint)
    assert entry.parent == 2


def test_an_outside_reader_gets_everything(backend: SteppedBackend) -> None:
    Ranks(backend).save([b"zero", b"one"])
    assert read(backend) == (2, b"zeroone")


def test_damage_to_one_ranks_part_takes_all_ranks_back(backend: SteppedBackend) -> None:
    """A restore that mixed two checkpoints across the ranks would be a mixture like any other."""
    before = Ranks(backend)
    before.save([b"0 of 1", b"1 of 1"], 1)
    before.save([b"0 of 2", b"1 of 2"], 2)
    [damaged] = [pack for pack in backend.packs() if pack.split("-")[1] == "5"]
    backend.corrupt(damaged)
    after = Ranks(backend, token="b")
    assert after.each(lambda process, rank: process.restore()) == [(2, b"0 of 1"), (2, b"1 of 1")]
    after.save([b"0", b"1"], 2)
    entry = backend.entry(5)
    assert isinstance(entry, Checkpoint)
    assert entry.parent == 2


def test_a_rank_that_does_not_restore_keeps_the_others_from_guessing(backend: SteppedBackend) -> None:
    Ranks(backend).save([b"zero", b"one"])
    after = Ranks(backend, token="b")
    outcome = together(backend, [lambda: after[1].restore()])
    assert isinstance(outcome[0], StorageError)
    assert "rank 0 doesn't say" in str(outcome[0])


def test_a_group_of_another_size_has_to_ask(backend: SteppedBackend) -> None:
    Ranks(backend, 2).save([b"zero", b"one"])
    after = Ranks(backend, 3, token="b")
    for outcome in after.each(lambda process, rank: process.restore()):
        assert isinstance(outcome, ConfigurationError)
        assert "saved by 2 ranks" in str(outcome)
        assert "rank='all'" in str(outcome)


def test_a_group_has_to_ask_for_what_a_single_process_saved(backend: SteppedBackend) -> None:
    Process(backend, 1, "pod").save(b"alone")
    for outcome in Ranks(backend).each(lambda process, rank: process.restore()):
        assert isinstance(outcome, ConfigurationError)
        assert "saved by a single process" in str(outcome)


# --- Completing ------------------------------------------------------------------------------------------------------


def test_the_task_is_complete_when_every_rank_has_said_so(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    ranks.save([b"0", b"1"])
    assert ranks.each(lambda process, rank: process.complete()) == [None, None]
    assert backend.log() == ["FENCE", "CHECKPOINT", "COMPLETE"]
    for rank in (0, 1):
        with pytest.raises(CompletedError):
            ranks[rank].save(b"after")
        with pytest.raises(CompletedError):
            Process(backend, 2, "other", group=Group("b", rank, 2))


def test_a_rank_that_does_not_complete_keeps_the_task_from_completing(backend: SteppedBackend) -> None:
    ranks = Ranks(backend)
    outcome = together(backend, [lambda: ranks[0].complete()])
    assert isinstance(outcome[0], StorageError)
    assert backend.log() == ["FENCE"]


# --- Parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"type":"PART","check":"00"}'])
def test_what_is_no_part_is_an_error_and_not_a_part(backend: SteppedBackend, damage: bytes) -> None:
    ranks = Ranks(backend)
    backend.objects[keys.part_key(1, 1, 1)] = damage
    with pytest.raises(StorageError, match="can't be read"):
        ranks[0].save(b"0")
    assert backend.log() == ["FENCE"]
