"""The rules, in every company and under every kind of trouble: nothing may be found broken, in any order of steps."""

from __future__ import annotations

from typing import Final

from tests.model.rules import INSIDE, RULES, Rules
from tests.model.runs import (
    INNER,
    ONE_AND_CLI,
    OPEN,
    RANKS_AND_CLI,
    READER,
    THREADS,
    TWO_AND_CLI,
    TWO_EXECUTIONS,
    Run,
    writers,
)


def _rule(name: str, about: str, rules: Rules, *, small: Rules | None = None, usable: bool = False) -> Run:
    return Run(name, about, rules, small=small, usable=usable)


HELD: Final = (
    _rule("F1", "attempts 1, 2", RULES, small=RULES._replace(saves=1)),
    _rule("F2", "the same, 2 delays", RULES._replace(delays=2)),
    _rule("F3", "attempts 1, 1, 2", RULES._replace(processes=writers(1, 1, 2), saves=1)),
    _rule(
        "F4",
        "a reader",
        OPEN._replace(processes=writers(1, 2) + READER),
        small=OPEN._replace(processes=writers(1, 2) + READER, saves=1),
    ),
    _rule(
        "F5",
        "the CLI prunes",
        OPEN._replace(processes=TWO_AND_CLI, keep=2),
        small=OPEN._replace(processes=TWO_AND_CLI, keep=2, saves=1),
    ),
    _rule("F6", "a LIST lags by up to 2 entries", RULES._replace(list_lags=True)),
    _rule("F7", "a write is carried out twice", RULES._replace(duplicates=1)),
    _rule("F8", "checkpoints share a pack", RULES._replace(shared_pack=True)),
    _rule("F9", "attempts 1, 2, 3, two saves", OPEN._replace(processes=writers(1, 2, 3))),
    _rule("F10", "collected by fence, 2 delays", OPEN._replace(collect="fence", delays=2)),
    _rule(
        "F11",
        "collected by fence, attempts 1, 1, 2",
        OPEN._replace(processes=writers(1, 1, 2), collect="fence", saves=1),
    ),
    _rule("F12", "attempts 1, 2, 3, 2 delays, one save", OPEN._replace(processes=writers(1, 2, 3), delays=2, saves=1)),
    _rule(
        "F13",
        "one attempt, the CLI prunes",
        OPEN._replace(processes=ONE_AND_CLI, keep=3, saves=3),
        small=OPEN._replace(processes=ONE_AND_CLI, keep=3, saves=3),
    ),
    _rule(
        "F14",
        "a reader, the CLI, attempts 1, 2",
        OPEN._replace(processes=TWO_AND_CLI + READER, keep=2, delays=0),
        small=OPEN._replace(processes=TWO_AND_CLI + READER, keep=2, delays=0, saves=1),
    ),
    _rule("U1", "attempts 1, 2, and from every world a fresh attempt goes on", RULES, usable=True),
    _rule(
        "U2",
        "the same, two processes of attempt 1",
        RULES._replace(processes=writers(1, 1)),
        small=RULES._replace(processes=writers(1, 1), saves=1, delays=0),
        usable=True,
    ),
    _rule(
        "R1", "rule 16: `prunes` inside, the base kept, collected at any time", INSIDE, small=INSIDE._replace(delays=0)
    ),
    _rule("R2", "the same, 2 delays", INNER._replace(delays=2)),
    _rule("R3", "the same, attempts 1, 1, 2", INNER._replace(processes=writers(1, 1, 2), saves=1)),
    _rule(
        "R4",
        "the CLI prunes, any checkpoint restored",
        INNER._replace(processes=TWO_AND_CLI, keep=2, delays=0, any_restore=True),
        small=INNER._replace(processes=TWO_AND_CLI, keep=2, delays=0, saves=1, any_restore=True),
    ),
    _rule(
        "R5",
        "a person pins",
        INNER._replace(processes=(*writers(1, 2), ("pinner", 0))),
        small=INNER._replace(processes=(*writers(1, 2), ("pinner", 0)), delays=0, saves=1),
    ),
    _rule(
        "R6",
        "the CLI prunes, a reader",
        INNER._replace(processes=TWO_AND_CLI + READER, keep=2, delays=0),
        small=INNER._replace(processes=TWO_AND_CLI + READER, keep=2, delays=0, saves=1),
    ),
    _rule(
        "R7",
        "stubs",
        INNER._replace(stubs="confirmed", delays=2, processes=writers(1, 2)),
        small=INNER._replace(stubs="confirmed", saves=1),
    ),
    _rule(
        "R8",
        "stubs, the CLI prunes",
        INNER._replace(stubs="confirmed", processes=TWO_AND_CLI, keep=2, delays=1),
        small=INNER._replace(stubs="confirmed", processes=TWO_AND_CLI, keep=2, delays=0, saves=1),
    ),
    _rule(
        "K1",
        "ranks: two executions of one attempt",
        INNER._replace(processes=TWO_EXECUTIONS, saves=1),
        small=INNER._replace(processes=TWO_EXECUTIONS, saves=1, delays=0, collect="no"),
    ),
    _rule(
        "K2",
        "ranks: the CLI prunes",
        INNER._replace(processes=RANKS_AND_CLI, saves=3, keep=2, delays=0),
        small=INNER._replace(processes=RANKS_AND_CLI, saves=3, keep=2, delays=0),
    ),
    _rule(
        "K3",
        "ranks: packs reused, the CLI prunes",
        OPEN._replace(processes=RANKS_AND_CLI, saves=3, keep=3, delays=0),
        small=OPEN._replace(processes=RANKS_AND_CLI, saves=3, keep=3, delays=0),
    ),
    _rule(
        "O1",
        "FROM: three attempts, its owner at work, the network too",
        INNER._replace(processes=writers(1, 2, 3), origin="always", origin_events=2, saves=1, delays=0, collect="no"),
        small=INNER._replace(origin="always", origin_events=2, saves=1, delays=0, collect="no"),
    ),
    _rule(
        "O2",
        "FROM: two attempts, two saves, one delay",
        INNER._replace(origin="always", origin_events=3, collect="no"),
    ),
    _rule(
        "D1",
        "damage that may heal, three attempts",
        INNER._replace(processes=writers(1, 2, 3), mishaps=2, heals=True, keep=2, saves=1, delays=0),
        small=INNER._replace(processes=(("dead", 0), *writers(1)), saved=2, mishaps=2, heals=True, keep=2, delays=0),
    ),
    _rule(
        "D2",
        "damage, two saves each",
        INNER._replace(mishaps=1, keep=2),
        small=INNER._replace(mishaps=1, keep=2, saves=1, delays=0),
    ),
    _rule(
        "D3",
        "damage, the CLI prunes",
        INNER._replace(processes=TWO_AND_CLI, mishaps=1, keep=2, delays=0),
        small=INNER._replace(processes=TWO_AND_CLI, mishaps=1, keep=2, saves=1, delays=0),
    ),
    _rule(
        "E1",
        "an unreadable entry",
        INNER._replace(mishaps=1, damages="entries", keep=2),
        small=INNER._replace(mishaps=1, damages="entries", keep=2, saves=1, delays=0),
    ),
    _rule(
        "E2",
        "an unreadable entry, three attempts",
        INNER._replace(processes=writers(1, 2, 3), mishaps=1, damages="entries", delays=0, collect="no"),
    ),
    _rule(
        "E3",
        "an unreadable entry, the CLI prunes",
        INNER._replace(processes=TWO_AND_CLI, mishaps=1, damages="entries", keep=2, delays=0),
        small=INNER._replace(
            processes=(("dead", 0), *writers(1), ("cli", 0)),
            saved=2,
            mishaps=1,
            damages="entries",
            keep=2,
            delays=0,
            saves=1,
        ),
    ),
    _rule(
        "X1",
        "the store is deleted",
        INNER._replace(processes=(*writers(1, 2), ("deleter", 0)), saves=1),
        small=INNER._replace(processes=(("dead", 0), *writers(1), ("deleter", 0)), saved=1, saves=1),
    ),
    _rule(
        "X2",
        "the store is deleted, by two",
        INNER._replace(processes=(*writers(1), ("deleter", 0), ("deleter", 0)), saves=1),
        small=INNER._replace(processes=(*writers(1), ("deleter", 0), ("deleter", 0)), saves=1, delays=0),
    ),
    _rule(
        "X3",
        "stubs that come late into a deleted store",
        INNER._replace(processes=(*writers(1), ("deleter", 0)), stubs="confirmed"),
        small=INNER._replace(processes=(*writers(1), ("deleter", 0)), stubs="confirmed"),
    ),
    _rule(
        "S1",
        "two threads, one lock",
        OPEN._replace(processes=THREADS, saves=3),
        small=OPEN._replace(processes=THREADS, saves=3),
    ),
)
