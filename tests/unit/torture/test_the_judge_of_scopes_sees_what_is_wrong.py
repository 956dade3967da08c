"""The torture's judge of stores without conditional writes, fed with logs in which something is wrong: it is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.torture import rawscopes
from tests.torture.contents import Label

Entries = dict[tuple[str, int], dict[str, Any] | None]
LOW, HIGH = (f"{10**20 - 1 - attempt:020}-{10**20 - 2:020}-{attempt:032x}" for attempt in (1, 2))
ROWS = {LOW: [[2, LOW]], HIGH: [[2, LOW], [5, HIGH]]}


def entry(kind: str, scope: str, sequence: int, live: list[int], parent: int | None = None) -> dict[str, Any]:
    attempt, held = (1, 2) if scope == LOW else (2, 5)
    who = {"type": kind, "sequence": sequence, "attempt": attempt, "fence": held, "live": [[n, n] for n in live]}
    return {**who, "scopes": ROWS[scope], "parent": parent, "step": sequence}


def good() -> Entries:
    """Attempt 1 saves 3, 4 and, when nobody looks at it any more, 5; attempt 2 goes on from 4."""
    return {
        (LOW, 1): {**entry("FENCE", LOW, 1, []), "fence": 1},
        (LOW, 2): entry("BASE", LOW, 2, []),
        (LOW, 3): entry("CHECKPOINT", LOW, 3, [3]),
        (LOW, 4): entry("CHECKPOINT", LOW, 4, [3, 4], 3),
        (LOW, 5): entry("CHECKPOINT", LOW, 5, [3, 4, 5], 4),
        (HIGH, 1): {**entry("FENCE", HIGH, 1, []), "fence": 1},
        (HIGH, 5): entry("BASE", HIGH, 5, [3, 4]),
        (HIGH, 6): entry("CHECKPOINT", HIGH, 6, [4, 6], 4),
    }


CONFIRMED = {3: Label(1, 3), 4: Label(1, 4), 6: Label(2, 6)}


def judged(folder: Path, entries: Entries, confirmed: Mapping[int, Label]) -> list[str]:
    for (scope, sequence), said in entries.items():
        head = json.dumps(said, separators=(",", ":")).encode()[:-1]
        whole = head + b',"check":"%s"}' % blake3(head).hexdigest().encode()
        name = f"{scope}-{10**20 - 1 - sequence:020}.json"
        (folder / name).write_bytes(whole if said is not None else b'{"type":"CHECKPO')
    return rawscopes.judge(rawscopes.read_log(folder), confirmed)


def test_a_log_in_order_has_nothing_to_complain_of(tmp_path: Path) -> None:
    assert judged(tmp_path, good(), CONFIRMED) == []


def changed(scope: str, sequence: int, **members: object) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        said = entries[scope, sequence]
        assert said is not None
        said.update(members)

    return change


def without(scope: str, sequence: int) -> Callable[[Entries], object]:
    return lambda entries: entries.pop((scope, sequence))


def torn(scope: str, sequence: int) -> Callable[[Entries], None]:
    return lambda entries: entries.update({(scope, sequence): None})


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (without(LOW, 4), "goes on from 4, not from 3"),
        (changed(HIGH, 5, live=[[3, 3]]), "doesn't go on from 4"),
        (changed(HIGH, 6, parent=3), "goes on from 3, not from 4"),
        (changed(HIGH, 6, attempt=1), "two wrote into one"),
        (changed(LOW, 4, fence=5), "two wrote into one"),
        (changed(LOW, 4, scopes=[[1, LOW]]), "says that it is of"),
        (changed(LOW, 2, type="PRUNE"), "holds the log from 2 on"),
    ],
)
def test_a_log_that_breaks_a_rule_is_named(
    tmp_path: Path, break_it: Callable[[Entries], object], complaint: str
) -> None:
    entries = good()
    break_it(entries)
    assert any(complaint in found for found in judged(tmp_path, entries, {}))


@pytest.mark.parametrize("confirmed", [{5: Label(1, 5)}, {4: Label(1, 3)}, {9: Label(2, 9)}])
def test_a_confirmed_save_that_is_not_in_this_log_is_named(tmp_path: Path, confirmed: dict[int, Label]) -> None:
    [found] = judged(tmp_path, good(), confirmed)
    assert "was confirmed as" in found


def test_a_torn_entry_breaks_the_format(tmp_path: Path) -> None:
    entries = good()
    torn(LOW, 3)(entries)
    with pytest.raises(ValueError, match="log entry 3 isn't whole"):
        judged(tmp_path, entries, CONFIRMED)


def test_a_row_whose_scopes_do_not_rise_is_named() -> None:
    log = rawscopes.Log([rawscopes.Part(2, HIGH), rawscopes.Part(5, LOW)], {})
    [found] = rawscopes.judge(log, {})
    assert "which isn't higher" in found
