"""Every hole that a rule closes, put back by itself: each must be found. docs/protocol.md tells their stories."""

from __future__ import annotations

from typing import Final

from tests.model.rules import DRAFT, RULES, Rules
from tests.model.runs import (
    INNER,
    ONE_AND_CLI,
    ONE_OF_THE_DRAFT,
    OPEN,
    RANKS_AND_CLI,
    READER,
    THREADS,
    TWO_AND_CLI,
    TWO_EXECUTIONS,
    Run,
    writers,
)


def _hole(name: str, about: str, breaks: str, rules: Rules, *, small: bool = True) -> Run:
    return Run(name, about, rules, frozenset(breaks.split()), rules if small else None)


HOLES: Final = (
    _hole("L1", "the draft, attempts 1 and 2", "I1 I6", DRAFT),
    _hole(
        "L2",
        "the draft, two processes of attempt 1",
        "I3",
        DRAFT._replace(processes=writers(1, 1), delays=0, saves=1, completes=False),
    ),
    _hole("L3", "a nonce per process", "I4", ONE_OF_THE_DRAFT._replace(nonce="process")),
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
        ONE_OF_THE_DRAFT._replace(names="unique", reuse="live", recheck=True, clean_after_failure=True),
    ),
    _hole("L6", "a save of unknown outcome told as failed", "I4b", ONE_OF_THE_DRAFT._replace(told_failed=True)),
    _hole(
        "L7",
        "a reader that doesn't look again",
        "R2 R3",
        DRAFT._replace(processes=writers(1) + READER, delays=0, saves=3, completes=False),
    ),
    _hole(
        "L8",
        "packs not checked again at the next number",
        "I1",
        OPEN._replace(processes=ONE_AND_CLI, recheck=False, keep=3, delays=0, saves=3),
    ),
    _hole(
        "L9", "restored from a second LIST, which lags", "I5", OPEN._replace(list_lags=True, restores="list", delays=0)
    ),
    _hole(
        "L10", "packs reused because a HEAD finds them", "I1", OPEN._replace(reuse="head", recheck=False), small=False
    ),
    _hole("L11", "packs named by content", "I1", OPEN._replace(names="content", recheck=False)),
    _hole(
        "L12",
        "the same, one process, a DELETE that hangs",
        "I1",
        OPEN._replace(processes=writers(1), names="content", recheck=False, saves=3),
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
        OPEN._replace(processes=writers(1, 1, 2), delays=0, saves=1, restore_looks_again=False),
        small=False,
    ),
    _hole("L16", "packs collected by age", "I1", OPEN._replace(collect="everything")),
    _hole(
        "L17",
        "a PRUNE of the CLI taken for a fence",
        "I20",
        OPEN._replace(processes=ONE_AND_CLI, adopt_prune=False, keep=3, delays=0, saves=3),
    ),
    _hole("T1", "entries deleted with care: FENCEs kept", "I2", OPEN._replace(trim="careful")),
    _hole("T2", "the same, and a LIST after the FENCE", "I2", OPEN._replace(trim="careful", list_after_fence=True)),
    _hole(
        "T3",
        "the same, attempts 1, 1, 2",
        "I2",
        OPEN._replace(processes=writers(1, 1, 2), trim="careful", list_after_fence=True, saves=1),
        small=False,
    ),
    _hole(
        "T4",
        "the same as T2, a PRUNE of the CLI deleted too",
        "I2",
        OPEN._replace(
            processes=TWO_AND_CLI, trim="careful", trim_foreign=True, list_after_fence=True, delays=0, saves=3
        ),
        small=False,
    ),
    _hole(
        "T5",
        "the same, but kept",
        "I2",
        OPEN._replace(processes=TWO_AND_CLI, trim="careful", list_after_fence=True, delays=0, saves=3),
        small=False,
    ),
    _hole("T6", "as T2, two delays", "I2", OPEN._replace(trim="careful", list_after_fence=True, delays=2), small=False),
    _hole(
        "L20",
        "rule 16: deleted before the entry is confirmed",
        "I1",
        INNER._replace(deletes="sent", keep_base=False),
    ),
    _hole(
        "L21",
        "rule 16: `prunes` not computed again after a PIN",
        "I10 I11",
        INNER._replace(processes=(*writers(1), ("pinner", 0)), recompute=False, keep_base=False, delays=0),
    ),
    _hole(
        "L22",
        "the CLI prunes without a thought of the running attempt",
        "I18",
        INNER._replace(processes=TWO_AND_CLI, keep=3, delays=0, cli_base="unknown"),
    ),
    _hole(
        "L23",
        "the CLI prunes though the running attempt's base can't be known yet",
        "I18",
        INNER._replace(processes=TWO_AND_CLI, keep=3, delays=0, any_restore=True, cli_base="committed"),
    ),
    _hole("L24", "collected: the fence's own packs too", "I1", INNER._replace(collect="everything")),
    _hole(
        "L25",
        "stubs written before the entry is confirmed",
        "I1",
        INNER._replace(deletes="sent", stubs="early", keep_base=False),
    ),
    _hole(
        "L30",
        "ranks: parts named by attempt and step",
        "I12",
        OPEN._replace(processes=TWO_EXECUTIONS, part_names="attempt", recheck=False, delays=0, saves=1),
    ),
    _hole(
        "L31",
        "ranks: rank 0 does not check what the others name",
        "I1",
        OPEN._replace(processes=RANKS_AND_CLI, checks_parts=False, delays=0, saves=3, keep=3),
    ),
    _hole(
        "L40",
        "FROM is known to the first attempt only",
        "I17",
        OPEN._replace(origin="first attempt", saves=1, delays=0),
    ),
    _hole(
        "L41",
        "a FROM that can't be read counts as nothing",
        "I17",
        OPEN._replace(origin="always", origin_events=1, origin_error_is_zero=True, saves=1, delays=0),
    ),
    _hole(
        "L50",
        "damage: falls back to the next older one",
        "I13",
        OPEN._replace(
            reuse="lineage",
            processes=(("dead", 0), *writers(1, 2)),
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
        INNER._replace(keep=2, mishaps=1, retention="number", keep_base=False, delays=0),
    ),
    _hole(
        "L52",
        "damage: packs of any live checkpoint reused",
        "I16",
        INNER._replace(reuse="live", keep=2, mishaps=1, delays=0),
    ),
    _hole(
        "L53",
        "damage: the CLI doesn't verify what it keeps",
        "I19",
        INNER._replace(
            keep=2, mishaps=1, delays=0, processes=TWO_AND_CLI, cli_verifies=False, cli_base="unknown", keep_base=False
        ),
    ),
    _hole(
        "L60",
        "an unreadable entry is stepped over",
        "I3",
        INNER._replace(mishaps=1, damages="entries", unreadable_is="stepped over", delays=0),
    ),
    _hole(
        "L61",
        "an unreadable entry: packs of an earlier fence reused",
        "I1",
        INNER._replace(mishaps=1, damages="entries", reuse="lineage", delays=0),
    ),
    _hole(
        "L62",
        "an unreadable entry, nothing known to be live: from zero",
        "I17",
        INNER._replace(mishaps=1, damages="entries", zero_past_unreadable=True, delays=0),
    ),
    _hole(
        "L70",
        "a deleted store's fence goes last",
        "I3 I21",
        INNER._replace(processes=(*writers(1, 2), ("deleter", 0)), deletion_fence="goes last", delays=1, saves=1),
    ),
    _hole(
        "L80",
        "two threads without one lock around last_seen",
        "I10",
        OPEN._replace(processes=THREADS, lock=False, delays=0, saves=3),
    ),
)
