"""Who meets in a store."""

from __future__ import annotations

import dataclasses
from typing import Final

from tests.simulator.person import Tending
from tests.simulator.place import OTHER
from tests.simulator.process import Elsewhere, Writing
from tests.simulator.reader import Watching
from tests.simulator.town import Lives, Role
from waypost.store.format import Mode
from waypost.store.group import Group
from waypost.store.resuming import BASE


@dataclasses.dataclass(frozen=True)
class Cast:
    """Processes on one store, which all want to start at once; the schedule decides who is when."""

    roles: tuple[Role, ...]
    fresh: bool = False
    """Without format.json: the place is probed first."""
    damages: str = ""
    """Keys that begin with this are lost or altered now and then, behind everybody's back."""
    snapshots: bool = False
    """Whether a machine is restored from a snapshot beside the one that runs on."""
    before: Lives = ()
    """Who has written to the store before, without trouble."""
    source: Lives | None = None
    """The task starts from another store: who has written to that before. Nobody: it doesn't exist. None: no source."""
    mode: Mode = Mode.CONDITIONAL
    """By which rules the log is written; where it is scoped, the place doesn't heed conditions."""
    marked: bool = False
    """Consoles and s3a leave a key of the folder's own name, which sorts before every entry."""


A: Final = Writing(1, "a")
A2: Final = Writing(1, "a", keeps=2)
B: Final = Writing(2, "b", completes=True)
C: Final = Writing(3, "c")
Ranks = tuple[Writing, ...]
EARLIER: Final = Writing(1, "x", keeps=None)
"""Has saved twice in the store that the task starts from, as its entries 2 and 3."""


def ranks(attempt: int, pod: str, token: str, size: int = 2, keeps: int | None = 1, *, ends: bool = True) -> Ranks:
    """The processes of one execution."""
    return tuple(Writing(attempt, pod, completes=ends, keeps=keeps, group=Group(token, n, size)) for n in range(size))


SAVED: Final = (ranks(1, "o", "s", keeps=None, ends=False),)
"""An execution of two ranks has saved twice, as entries 2 and 3, and was preempted."""


CASTS: Final = {
    "1,2": Cast((A, B)),
    "1,2 and a reader, marked": Cast((A, B, Watching()), marked=True),
    "1,2,3": Cast((A, B, C)),
    "1,1,2": Cast((A, A, B)),
    "1,1': another pod": Cast((A, Writing(1, "z"), B)),
    "1 again and again,2": Cast((Writing(1, "a", lives=3), B)),
    "1,2 and a reader": Cast((A, B, Watching())),
    "1,2,3 from an older one": Cast((A2, Writing(2, "b", picks=True, keeps=2), C)),
    "1,2,3 from an older one keep three": Cast(
        (Writing(1, "a", keeps=3), Writing(2, "b", saves=1, picks=True, keeps=3), Writing(3, "c", keeps=3))
    ),
    "1,2,3 from an older one and lost packs": Cast(
        (A, Writing(2, "b", saves=1, picks=True), C, Watching(1)), damages="packs/"
    ),
    "1,2,3 on branches and lost packs": Cast(
        (Writing(1, "a", keeps=None), Writing(2, "b", saves=1, picks=True, keeps=None), C), damages="packs/"
    ),
    "1,2,3 and unreadable entries": Cast((A2, Writing(2, "b", keeps=2), C, Watching(1)), damages="log/"),
    "1,2 keep all": Cast((Writing(1, "a", saves=3, keeps=None), Writing(2, "b", saves=1, keeps=None))),
    "1,2 and a person": Cast((Writing(1, "a", saves=3, keeps=2), Writing(2, "b", keeps=None), Tending())),
    "1,2, a person and a reader": Cast((Writing(1, "a", keeps=None), B, Tending(2), Watching())),
    "1,2 and a snapshot": Cast((Writing(1, "a", saves=3), B), snapshots=True),
    "1,2 fresh": Cast((A, B), fresh=True),
    "scoped: 1,2": Cast((A, B), mode=Mode.SCOPED),
    "scoped: 1,2,3 and a reader": Cast((A, B, C, Watching()), mode=Mode.SCOPED),
    "scoped: 1,1,2": Cast((A, A, B), mode=Mode.SCOPED),
    "scoped: 1,1': another pod": Cast((A, Writing(1, "z"), B), mode=Mode.SCOPED),
    "scoped: 1 again and again,2": Cast((Writing(1, "a", lives=3), B), mode=Mode.SCOPED),
    "scoped: 1,2 keep two": Cast((A2, Writing(2, "b", saves=1, keeps=2)), mode=Mode.SCOPED),
    "scoped: 1,2 fresh": Cast((A, B), fresh=True, mode=Mode.SCOPED),
    "ranks: 1,2": Cast((*ranks(1, "a", "t"), *ranks(2, "b", "u"))),
    "ranks: 1 restarted with its token": Cast((*ranks(1, "a", "t"), *ranks(1, "a", "t"))),
    "ranks: three of 2, and a person": Cast(
        (*ranks(2, "a", "t", 3, keeps=None), Tending(2)), before=(ranks(1, "o", "s", 3, keeps=None, ends=False),)
    ),
    "ranks: 1, then one process alone": Cast((*ranks(1, "a", "t"), B, Watching())),
    "ranks: 2 restarted in its pod": Cast((*ranks(2, "a", "t"), *ranks(2, "a", "u")), before=SAVED),
    "ranks: 2,3 and lost packs": Cast(
        (*ranks(2, "a", "t", keeps=2), *ranks(3, "b", "u")), before=SAVED, damages="packs/"
    ),
    "1,2,3 from a store at work": Cast(
        (A, Writing(2, "b", asks_for=BASE, completes=True), C, Elsewhere(Writing(2, "y", saves=1))),
        source=((EARLIER,),),
    ),
    "1,2,3 from a store that begins": Cast((A, B, C, Elsewhere(Writing(1, "x"))), source=()),
    "1,2 from a checkpoint that may be pruned": Cast(
        (Writing(1, "a", begins_at=2), Writing(2, "b", begins_at=2, asks_for=BASE), Elsewhere(Writing(2, "y"))),
        source=((EARLIER,),),
    ),
    "1,2 from a store with lost packs": Cast(
        (A, Writing(2, "b", asks_for=BASE)), source=((EARLIER,),), damages=f"{OTHER}packs/"
    ),
    "1,2,3 from a store, and lost packs": Cast((A, B, C), source=((Writing(1, "x", saves=1),),), damages="packs/"),
}
