"""The torture's two judges, fed with ledgers and logs in which something is wrong: each is seen, and named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.torture import rawlog
from tests.torture.contents import Label, identify, read_tree, state_of, write_tree
from tests.torture.errors import TortureError
from tests.torture.kills import what_it_did
from tests.torture.ledger import Witness


def heard(*ledgers: str) -> list[str]:
    witness = Witness()
    for attempt, ledger in enumerate(ledgers, 1):
        witness.hear(attempt, [line.split(" ") for line in ledger.split(", ")])
    return witness.complaints


SAVED = "restored 0 0 0, saving 1, saved 1 2, saving 2, saved 2 3"


def test_a_ledger_in_order_has_nothing_to_complain_of() -> None:
    assert heard(SAVED, "restored 3 1 2, saving 3, saved 3 5", "restored 5 2 3") == []


def test_a_save_that_was_not_confirmed_may_be_restored() -> None:
    assert heard(SAVED + ", saving 3", "restored 4 1 3") == []


@pytest.mark.parametrize(
    ("ledgers", "complaint"),
    [
        ((SAVED, "restored 2 1 1"), "attempt 2 restored checkpoint 2, though 3 had been confirmed"),
        ((SAVED, "restored 0 0 0"), "attempt 2 restored nothing, though 3 had been confirmed"),
        ((SAVED, "restored 4 1 3"), "attempt=1, step=3), which nobody ever saved"),
        ((SAVED, "restored 3 1 1"), "attempt=1, step=1) as 3, which was"),
        ((SAVED, "torn 3 whatever"), "attempt 2 restored a torn state"),
        ((SAVED, "failed StorageError why"), "attempt 2 failed: StorageError why"),
        ((SAVED, "restored 3 1 2, saving 3, saved 3 3"), "were both confirmed as 3"),
    ],
)
def test_a_ledger_that_breaks_a_promise_is_named(ledgers: tuple[str, ...], complaint: str) -> None:
    [found] = heard(*ledgers)
    assert complaint in found


@pytest.mark.parametrize("step", range(1, 11))
def test_a_state_comes_back_as_what_it_was_and_a_mixture_does_not(tmp_path: Path, step: int) -> None:
    label = Label(7, step)
    write_tree(state_of(label), tmp_path / "state")
    tree = dict(read_tree(tmp_path / "state"))
    assert identify(tree) == label
    name = next(name for name in tree if not name.endswith("/"))
    for wrong in ({**tree, name: tree[name][:-1]}, {**tree, "more": b"x"}, {**tree, name: tree[name][:-1] + b"?"}):
        with pytest.raises(TortureError):
            identify(wrong)


def test_two_states_in_one_folder_are_no_state() -> None:
    older, newer = state_of(Label(1, 3)), state_of(Label(1, 8))
    with pytest.raises(TortureError, match="not the whole state"):
        identify({**older, "small": newer["small"]})


def test_where_a_ledger_breaks_off_tells_what_was_hit() -> None:
    def hit(ledger: str) -> tuple[str, str]:
        return what_it_did([line.split(" ") for line in ledger.split(", ")])

    assert hit("starting, request 1 get format.json") == ("start", "in the middle of get format.json")
    assert hit("starting, started, restoring, request 1 read_range packs, done 1") == ("restore", "between requests")
    assert hit("saving 1, request 4 put packs, done 4, request 5 put_new log") == (
        "save",
        "in the middle of put_new log",
    )
    assert hit("saving 1, saved 1 2, request 6 delete packs") == ("prune", "in the middle of delete packs")


# --- The log ---------------------------------------------------------------------------------------------------------


def fence(sequence: int, attempt: int) -> dict[str, Any]:
    return {"type": "FENCE", "sequence": sequence, "attempt": attempt, "fence": sequence}


def save(sequence: int, attempt: int, held: int, parent: int | None, step: int = 0) -> dict[str, Any]:
    checkpoint = {"type": "CHECKPOINT", "sequence": sequence, "attempt": attempt, "fence": held}
    return {**checkpoint, "parent": parent, "step": step or sequence}


GOOD = [fence(1, 1), save(2, 1, 1, None), save(3, 1, 1, 2), fence(4, 2), save(5, 2, 4, 3)]


def test_a_log_in_order_has_nothing_to_complain_of() -> None:
    prune = {"type": "PRUNE", "sequence": 6, "attempt": 0, "fence": 0}
    assert rawlog.judge([*GOOD, prune], {2: Label(1, 2), 5: Label(2, 5)}) == []


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ([*GOOD, save(6, 1, 1, 5)], "stands behind FENCE 4 of attempt 2: a zombie committed"),
        ([*GOOD, {"type": "COMPLETE", "sequence": 6, "attempt": 1, "fence": 1}], "a zombie committed"),
        ([*GOOD, {"type": "PRUNE", "sequence": 6, "attempt": 1, "fence": 1}], "a zombie committed"),
        ([*GOOD, fence(6, 1)], "comes after attempt 2"),
        ([*GOOD, save(6, 3, 4, 5)], "isn't of the attempt that holds the fence"),
        ([*GOOD, save(6, 2, 4, 3)], "goes on from 3, not from 5"),
    ],
)
def test_a_log_that_breaks_a_rule_is_named(log: list[Mapping[str, Any]], complaint: str) -> None:
    [found] = rawlog.judge(log, {})
    assert complaint in found


@pytest.mark.parametrize("confirmed", [{5: Label(2, 4)}, {4: Label(2, 4)}, {9: Label(2, 9)}])
def test_a_confirmed_save_that_does_not_stand_is_named(confirmed: dict[int, Label]) -> None:
    [found] = rawlog.judge(GOOD, confirmed)
    assert "was confirmed as" in found


def test_an_entry_that_is_not_whole_or_not_in_its_place_is_an_error() -> None:
    def raw(entry: Mapping[str, Any]) -> bytes:
        head = json.dumps(entry, separators=(",", ":")).encode()[:-1]
        return head + b',"check":"%s"}' % blake3(head).hexdigest().encode()

    def store(*entries: bytes) -> rawlog.Read:
        return {f"log/{10**20 - 1 - number:020}.json": entry for number, entry in enumerate(entries, 1)}.get

    whole = raw(fence(1, 1))
    assert [entry["type"] for entry in rawlog.read_log(store(whole))] == ["FENCE"]
    for wrong in (whole[:-9], whole.replace(b"FENCE", b"PRUNE"), raw(fence(2, 1))):
        with pytest.raises(ValueError, match="log entry 1"):
            rawlog.read_log(store(wrong))
