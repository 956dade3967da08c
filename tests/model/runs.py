"""What is explored: every hole put back by itself, and the rules in every company; docs/protocol.md has the results.

`small` runs are part of the unit tests. A hole must be found, a rule must exhaust without a violation.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.model.rules import DRAFT, INSIDE, RULES, Rules


class Run(NamedTuple):
    """One exploration, and what it must come to."""

    name: str
    about: str
    rules: Rules
    breaks: frozenset[str] = frozenset()
    """Of a hole: what must be found broken, one of these at least and nothing else."""
    small: Rules | None = None
    """Bounds that take seconds or less, for the unit tests."""
    usable: bool = False


def _w(*attempts: int) -> tuple[tuple[str, int], ...]:
    return tuple(("writer", attempt) for attempt in attempts)


def _hole(name: str, about: str, breaks: str, rules: Rules, *, small: bool = True) -> Run:
    return Run(name, about, rules, frozenset(breaks.split()), rules if small else None)


def _rule(name: str, about: str, rules: Rules, *, small: Rules | None = None, usable: bool = False) -> Run:
    return Run(name, about, rules, small=small, usable=usable)


_ONE_DRAFT = DRAFT._replace(processes=_w(1), completes=False)
_CLI: Final = (("cli", 0),)
_READER: Final = (("reader", 0),)
_ONE_CLI: Final = _w(1) + _CLI
_TWO_CLI: Final = _w(1, 2) + _CLI
_TWO_EXECUTIONS: Final = (("rank 0", 1), ("rank", 0), ("rank 0", 1), ("rank", 2))
_RANKS_CLI: Final = (("rank 0", 1), ("rank", 0), ("cli", 0))
_THREADS: Final = (("saving thread", 1), ("pruning thread", 0))
_OPEN: Final = RULES._replace(completes=False)
_INSIDE: Final = INSIDE._replace(completes=False)

HOLES: Final = (
    _hole("L1", "the draft, attempts 1 and 2", "I1 I6", DRAFT),
    _hole(
        "L2",
        "the draft, two processes of attempt 1",
        "I3",
        DRAFT._replace(processes=_w(1, 1), delays=0, saves=1, completes=False),
    ),
    _hole("L3", "a nonce per process", "I4", _ONE_DRAFT._replace(nonce="process")),
    _hole(
        "L4",
        "the draft, old log entries deleted",
        "I2",
        DRAFT._replace(trim="prefix", names="unique", reuse="live", recheck=True, complete_ends=True, delays=0),
    ),
    _hole(
        "L5",
        "a failed save removes its packs",
        "I1",
        _ONE_DRAFT._replace(names="unique", reuse="live", recheck=True, clean_after_failure=True),
    ),
    _hole("L6", "a save of unknown outcome told as failed", "I4b", _ONE_DRAFT._replace(told_failed=True)),
    _hole(
        "L7",
        "a reader that doesn't look again",
        "R2 R3",
        DRAFT._replace(processes=_w(1) + _READER, delays=0, saves=3, completes=False),
    ),
    _hole(
        "L8",
        "packs not checked again at the next number",
        "I1",
        _OPEN._replace(processes=_ONE_CLI, recheck=False, keep=3, delays=0, saves=3),
    ),
    _hole(
        "L9", "restored from a second LIST, which lags", "I5", _OPEN._replace(list_lags=True, restores="list", delays=0)
    ),
    _hole(
        "L10", "packs reused because a HEAD finds them", "I1", _OPEN._replace(reuse="head", recheck=False), small=False
    ),
    _hole("L11", "packs named by content", "I1", _OPEN._replace(names="content", recheck=False)),
    _hole(
        "L12",
        "the same, one process, a DELETE that hangs",
        "I1",
        _OPEN._replace(processes=_w(1), names="content", recheck=False, saves=3),
    ),
    _hole("L13", "old log entries deleted", "I2", RULES._replace(trim="prefix", delays=0)),
    _hole(
        "L14",
        "a starting attempt doesn't look for COMPLETE",
        "I6",
        RULES._replace(complete_ends=False, delays=0, saves=1),
    ),
    _hole(
        "L15",
        "a restore that doesn't look again",
        "I1r",
        _OPEN._replace(processes=_w(1, 1, 2), delays=0, saves=1, restore_looks_again=False),
        small=False,
    ),
    _hole("L16", "packs collected by age", "I1", _OPEN._replace(collect="everything")),
    _hole(
        "L17",
        "a PRUNE of the CLI taken for a fence",
        "I20",
        _OPEN._replace(processes=_ONE_CLI, adopt_prune=False, keep=3, delays=0, saves=3),
    ),
    _hole("T1", "entries deleted with care: FENCEs kept", "I2", _OPEN._replace(trim="careful")),
    _hole("T2", "the same, and a LIST after the FENCE", "I2", _OPEN._replace(trim="careful", list_after_fence=True)),
    _hole(
        "T3",
        "the same, attempts 1, 1, 2",
        "I2",
        _OPEN._replace(processes=_w(1, 1, 2), trim="careful", list_after_fence=True, saves=1),
        small=False,
    ),
    _hole(
        "T4",
        "the same as T2, a PRUNE of the CLI deleted too",
        "I2",
        _OPEN._replace(processes=_TWO_CLI, trim="careful", trim_foreign=True, list_after_fence=True, delays=0, saves=3),
        small=False,
    ),
    _hole(
        "T5",
        "the same, but kept",
        "I2",
        _OPEN._replace(processes=_TWO_CLI, trim="careful", list_after_fence=True, delays=0, saves=3),
        small=False,
    ),
    _hole(
        "T6", "as T2, two delays", "I2", _OPEN._replace(trim="careful", list_after_fence=True, delays=2), small=False
    ),
    _hole(
        "L20", "rule 16: deleted before the entry is confirmed", "I1", _INSIDE._replace(deletes="sent", keep_base=False)
    ),
    _hole(
        "L21",
        "rule 16: `prunes` not computed again after a PIN",
        "I10 I11",
        _INSIDE._replace(processes=(*_w(1), ("pinner", 0)), recompute=False, keep_base=False, delays=0),
    ),
    _hole(
        "L22",
        "the CLI prunes without a thought of the running attempt",
        "I18",
        _INSIDE._replace(processes=_TWO_CLI, keep=3, delays=0, cli_base="unknown"),
    ),
    _hole(
        "L23",
        "the CLI prunes though the running attempt's base can't be known yet",
        "I18",
        _INSIDE._replace(processes=_TWO_CLI, keep=3, delays=0, any_restore=True, cli_base="committed"),
    ),
    _hole("L24", "collected: the fence's own packs too", "I1", _INSIDE._replace(collect="everything")),
    _hole(
        "L25",
        "stubs written before the entry is confirmed",
        "I1",
        _INSIDE._replace(deletes="sent", stubs="early", keep_base=False),
    ),
    _hole(
        "L30",
        "ranks: parts named by attempt and step",
        "I12",
        _OPEN._replace(processes=_TWO_EXECUTIONS, part_names="attempt", recheck=False, delays=0, saves=1),
    ),
    _hole(
        "L31",
        "ranks: rank 0 doesn't check the packs at the commit",
        "I1",
        _OPEN._replace(processes=_RANKS_CLI, recheck=False, delays=0, saves=3, keep=3),
    ),
    _hole(
        "L40",
        "FROM is known to the first attempt only",
        "I17",
        _OPEN._replace(origin="first attempt", saves=1, delays=0),
    ),
    _hole(
        "L41",
        "a FROM that can't be read counts as nothing",
        "I17",
        _OPEN._replace(origin="always", origin_events=1, origin_error_is_zero=True, saves=1, delays=0),
    ),
    _hole(
        "L50",
        "damage: falls back to the next older one",
        "I13",
        _OPEN._replace(
            reuse="lineage",
            processes=(("dead", 0), *_w(1, 2)),
            saved=2,
            mishaps=2,
            heals=True,
            falls_back="older",
            retention="number",
            keep=3,
            delays=0,
            saves=1,
        ),
    ),
    _hole(
        "L51",
        "damage: retention counts by number",
        "I14",
        _INSIDE._replace(keep=2, mishaps=1, retention="number", keep_base=False, delays=0),
    ),
    _hole(
        "L52",
        "damage: packs of any live checkpoint reused",
        "I16",
        _INSIDE._replace(reuse="live", keep=2, mishaps=1, delays=0),
    ),
    _hole(
        "L53",
        "damage: the CLI doesn't verify what it keeps",
        "I19",
        _INSIDE._replace(
            keep=2, mishaps=1, delays=0, processes=_TWO_CLI, cli_verifies=False, cli_base="unknown", keep_base=False
        ),
    ),
    _hole(
        "L60",
        "an unreadable entry is stepped over",
        "I3",
        _INSIDE._replace(mishaps=1, damages="entries", unreadable_is="stepped over", delays=0),
    ),
    _hole(
        "L61",
        "an unreadable entry: packs of an earlier fence reused",
        "I1",
        _INSIDE._replace(mishaps=1, damages="entries", reuse="lineage", delays=0),
    ),
    _hole(
        "L62",
        "an unreadable entry, nothing known to be live: from zero",
        "I17",
        _INSIDE._replace(mishaps=1, damages="entries", zero_past_unreadable=True, delays=0),
    ),
    _hole(
        "L70",
        "a deleted store's fence goes last",
        "I3 I21",
        _INSIDE._replace(processes=(*_w(1, 2), ("deleter", 0)), deletion_fence="goes last", delays=1, saves=1),
    ),
    _hole(
        "L80",
        "two threads without one lock around last_seen",
        "I10",
        _OPEN._replace(processes=_THREADS, lock=False, delays=0, saves=3),
    ),
)

RULES_HOLD: Final = (
    _rule("F1", "attempts 1, 2", RULES, small=RULES._replace(saves=1)),
    _rule("F2", "the same, 2 delays", RULES._replace(delays=2)),
    _rule("F3", "attempts 1, 1, 2", RULES._replace(processes=_w(1, 1, 2), saves=1)),
    _rule(
        "F4",
        "a reader",
        _OPEN._replace(processes=_w(1, 2) + _READER),
        small=_OPEN._replace(processes=_w(1, 2) + _READER, saves=1),
    ),
    _rule(
        "F5",
        "the CLI prunes",
        _OPEN._replace(processes=_TWO_CLI, keep=2),
        small=_OPEN._replace(processes=_TWO_CLI, keep=2, saves=1),
    ),
    _rule("F6", "a LIST lags by up to 2 entries", RULES._replace(list_lags=True)),
    _rule("F7", "a write is carried out twice", RULES._replace(duplicates=1)),
    _rule("F8", "checkpoints share a pack", RULES._replace(shared_pack=True)),
    _rule("F9", "attempts 1, 2, 3, two saves", _OPEN._replace(processes=_w(1, 2, 3))),
    _rule("F10", "collected by fence, 2 delays", _OPEN._replace(collect="fence", delays=2)),
    _rule(
        "F11", "collected by fence, attempts 1, 1, 2", _OPEN._replace(processes=_w(1, 1, 2), collect="fence", saves=1)
    ),
    _rule("F12", "attempts 1, 2, 3, 2 delays, one save", _OPEN._replace(processes=_w(1, 2, 3), delays=2, saves=1)),
    _rule(
        "F13",
        "one attempt, the CLI prunes",
        _OPEN._replace(processes=_ONE_CLI, keep=3, saves=3),
        small=_OPEN._replace(processes=_ONE_CLI, keep=3, saves=3),
    ),
    _rule(
        "F14",
        "a reader, the CLI, attempts 1, 2",
        _OPEN._replace(processes=_TWO_CLI + _READER, keep=2, delays=0),
        small=_OPEN._replace(processes=_TWO_CLI + _READER, keep=2, delays=0, saves=1),
    ),
    _rule("U1", "attempts 1, 2, and from every world a fresh attempt goes on", RULES, usable=True),
    _rule(
        "U2",
        "the same, two processes of attempt 1",
        RULES._replace(processes=_w(1, 1)),
        small=RULES._replace(processes=_w(1, 1), saves=1, delays=0),
        usable=True,
    ),
    _rule(
        "R1", "rule 16: `prunes` inside, the base kept, collected at any time", INSIDE, small=INSIDE._replace(delays=0)
    ),
    _rule("R2", "the same, 2 delays", _INSIDE._replace(delays=2)),
    _rule("R3", "the same, attempts 1, 1, 2", _INSIDE._replace(processes=_w(1, 1, 2), saves=1)),
    _rule(
        "R4",
        "the CLI prunes, any checkpoint restored",
        _INSIDE._replace(processes=_TWO_CLI, keep=2, delays=0, any_restore=True),
        small=_INSIDE._replace(processes=_TWO_CLI, keep=2, delays=0, saves=1, any_restore=True),
    ),
    _rule(
        "R5",
        "a person pins",
        _INSIDE._replace(processes=(*_w(1, 2), ("pinner", 0))),
        small=_INSIDE._replace(processes=(*_w(1, 2), ("pinner", 0)), delays=0, saves=1),
    ),
    _rule(
        "R6",
        "the CLI prunes, a reader",
        _INSIDE._replace(processes=_TWO_CLI + _READER, keep=2, delays=0),
        small=_INSIDE._replace(processes=_TWO_CLI + _READER, keep=2, delays=0, saves=1),
    ),
    _rule(
        "R7",
        "stubs",
        _INSIDE._replace(stubs="confirmed", delays=2, processes=_w(1, 2)),
        small=_INSIDE._replace(stubs="confirmed", saves=1),
    ),
    _rule(
        "R8",
        "stubs, the CLI, a reader's eye",
        _INSIDE._replace(stubs="confirmed", processes=_TWO_CLI, keep=2, delays=1),
        small=_INSIDE._replace(stubs="confirmed", processes=_TWO_CLI, keep=2, delays=0, saves=1),
    ),
    _rule(
        "K1",
        "ranks: two executions of one attempt",
        _INSIDE._replace(processes=_TWO_EXECUTIONS, saves=1),
        small=_INSIDE._replace(processes=_TWO_EXECUTIONS, saves=1, delays=0, collect="no"),
    ),
    _rule(
        "K2",
        "ranks: the CLI prunes",
        _INSIDE._replace(processes=_RANKS_CLI, saves=3, keep=2, delays=0),
        small=_INSIDE._replace(processes=_RANKS_CLI, saves=3, keep=2, delays=0),
    ),
    _rule(
        "O1",
        "FROM: three attempts, its owner at work, the network too",
        _INSIDE._replace(processes=_w(1, 2, 3), origin="always", origin_events=2, saves=1, delays=0),
        small=_INSIDE._replace(origin="always", origin_events=2, saves=1, delays=0, collect="no"),
    ),
    _rule(
        "D1",
        "damage that may heal, three attempts",
        _INSIDE._replace(processes=_w(1, 2, 3), mishaps=2, heals=True, keep=2, saves=1, delays=0),
        small=_INSIDE._replace(processes=(("dead", 0), *_w(1)), saved=2, mishaps=2, heals=True, keep=2, delays=0),
    ),
    _rule(
        "D2",
        "damage, two saves each",
        _INSIDE._replace(mishaps=1, keep=2),
        small=_INSIDE._replace(mishaps=1, keep=2, saves=1, delays=0),
    ),
    _rule(
        "D3",
        "damage, the CLI prunes",
        _INSIDE._replace(processes=_TWO_CLI, mishaps=1, keep=2, delays=0),
        small=_INSIDE._replace(processes=_TWO_CLI, mishaps=1, keep=2, saves=1, delays=0),
    ),
    _rule(
        "E1",
        "an unreadable entry",
        _INSIDE._replace(mishaps=1, damages="entries", keep=2),
        small=_INSIDE._replace(mishaps=1, damages="entries", keep=2, saves=1, delays=0),
    ),
    _rule(
        "E2",
        "an unreadable entry, three attempts",
        _INSIDE._replace(processes=_w(1, 2, 3), mishaps=1, damages="entries", delays=0),
    ),
    _rule(
        "E3",
        "an unreadable entry, the CLI prunes",
        _INSIDE._replace(processes=_TWO_CLI, mishaps=1, damages="entries", keep=2, delays=0),
        small=_INSIDE._replace(
            processes=(("dead", 0), *_w(1), *_CLI), saved=2, mishaps=1, damages="entries", keep=2, delays=0, saves=1
        ),
    ),
    _rule(
        "X1",
        "the store is deleted",
        _INSIDE._replace(processes=(*_w(1, 2), ("deleter", 0)), saves=1),
        small=_INSIDE._replace(processes=(("dead", 0), *_w(1), ("deleter", 0)), saved=1, saves=1),
    ),
    _rule(
        "X2",
        "the store is deleted, by two",
        _INSIDE._replace(processes=(*_w(1), ("deleter", 0), ("deleter", 0)), saves=1),
        small=_INSIDE._replace(processes=(*_w(1), ("deleter", 0), ("deleter", 0)), saves=1, delays=0),
    ),
    _rule(
        "S1",
        "two threads, one lock",
        _OPEN._replace(processes=_THREADS, saves=3),
        small=_OPEN._replace(processes=_THREADS, saves=3),
    ),
)
