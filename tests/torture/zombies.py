"""A writer is frozen in the middle of a commit, its successor starts, and the dead wakes up at a random moment.

Half of the zombies freeze themselves exactly before or behind the PUT of a log entry; the others are hit by SIGSTOP
wherever they are, most of them in the middle of a request. The successor of one race is the zombie of the next. When
the zombie wakes before the successor's FENCE stands, it may go on to commit, as it should; afterwards never again.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable

from tests.torture.errors import TortureError
from tests.torture.figures import Figures
from tests.torture.kills import what_it_did
from tests.torture.ledger import Witness
from tests.torture.lives import Line, Subject, fresh_folder, open_requests, spin
from tests.torture.places import SCOPED, Place
from tests.torture.traced import Freeze
from tests.torture.writer import EXIT_FENCED, Life

RACES_PER_STORE = 100
_REST = 1.0
"""A program that does nothing but save leaves its successor's FENCE no room between two entries: the successor starves
until the other one is dead. Safe, but nothing to wait for a thousand times."""
_LONGEST_HEAD_START = 20
"""Lines of the successor's ledger; its FENCE stands after some ten."""
_LONGEST_IN_SCOPES = 30
"""In mode scoped it has started after some twenty."""


def torture(place: Place, count: int, seed: int) -> Figures:
    """Run `count` races."""
    figures = Figures(f"{count} zombie races on {place.name}, seed {seed}")
    chance = random.Random(f"{seed} zombies {place.name}")
    for number in itertools.count(1):
        if not (races := min(count, RACES_PER_STORE)):
            return figures
        count -= races
        _Chain(place, f"zombies-{number}", chance, figures).run(races)
        figures.say()
    raise AssertionError("counts for ever")


class _Chain:
    """The races of one store, each with the successor of the one before as its zombie."""

    def __init__(self, place: Place, store: str, chance: random.Random, figures: Figures) -> None:
        self._place, self._store, self._chance, self._figures = place, store, chance, figures
        self._witness = Witness()

    def run(self, races: int) -> None:
        """Run them, and judge them by the log."""
        old = self._begin(1)
        try:
            for attempt in range(2, races + 2):
                old = self._race(old, attempt)
        except TortureError as error:
            self._witness.complaints.append(str(error))
        if not old.ended:
            old.kill()
            self._hear(old)
        entries, complaints = self._place.judge(self._store, self._witness.confirmed)
        self._witness.complaints += complaints
        self._figures.counts["log entries judged"] += entries
        self._figures.counts["saves confirmed"] += len(self._witness.confirmed)
        self._figures.complaints += [f"{self._store}: {complaint}" for complaint in self._witness.complaints]

    def _begin(self, attempt: int) -> Subject:
        folder = fresh_folder(self._place.folder, f"{self._store}-{attempt}")
        freeze = None
        if self._chance.random() < 0.5:
            freeze = Freeze(self._chance.choice(("before", "after")), self._chance.randint(2, 4))
        kept = self._chance.choice((None, 2))
        return Subject.begin(Life(self._place.uri(self._store), attempt, folder, freeze, _REST, kept))

    def _race(self, old: Subject, attempt: int) -> Subject:
        """Freeze `old`, start the next attempt, wake `old`, and wait for its end; returns the next attempt."""
        self._freeze(old)
        new = self._begin(attempt)
        try:
            self._give_a_start(new)
            fenced_off = ["started"] in new.lines
            seen = len(old.lines)
            old.wake()
            self._await_its_end(old, new)
        except TortureError:
            for subject in (old, new):
                if not subject.ended:
                    subject.kill()
                self._hear(subject)
            raise
        self._hear(old)
        self._count(old.lines[seen:], fenced_off)
        shutil.rmtree(old.life.folder)
        return new

    def _give_a_start(self, new: Subject) -> None:
        longest = _LONGEST_IN_SCOPES if self._place.name in SCOPED else _LONGEST_HEAD_START
        for _ in range(self._chance.randint(0, longest)):
            line = new.next_line()
            if line is None:
                raise TortureError(f"attempt {new.life.attempt} ended by itself; {new.last_words()}")
            if line[0] == "freezing":
                return
        spin(10 ** self._chance.uniform(-5, -2))

    @staticmethod
    def _await_its_end(old: Subject, new: Subject) -> None:
        if old.wait(beside=new) != EXIT_FENCED:
            raise TortureError(f"the zombie wasn't fenced; {old.last_words()}")

    def _freeze(self, old: Subject) -> None:
        stands = old.frozen() if old.life.freeze is not None else self._strike(old)
        if not stands:
            raise TortureError(f"it ended by itself instead of being frozen; {old.last_words()}")
        phase, request = what_it_did(old.lines)
        if old.life.freeze is not None:
            phase, request = "save", f"exactly {old.life.freeze.when} the entry's PUT"
        self._figures.hits[phase, request] += 1
        if any(line[2] in ("put", "put_new") for line in open_requests(old.lines)):
            self._figures.counts["zombies frozen in the middle of a PUT"] += 1

    def _strike(self, old: Subject) -> bool:
        saves = self._chance.randint(1, 3)
        seen = 0

        def under_way(line: Line) -> bool:
            nonlocal seen
            seen += line[0] == "saved"
            return seen >= saves and line[0] == "request" and line[2] in ("put", "put_new")

        self._await(old, under_way)
        spin(10 ** self._chance.uniform(-5, -2.5))
        return old.freeze()

    def _await(self, subject: Subject, wanted: Callable[[Line], bool]) -> None:
        if not subject.until(wanted):
            raise TortureError(f"attempt {subject.life.attempt} ended by itself; {subject.last_words()}")

    def _count(self, after_waking: list[Line], fenced_off: bool) -> None:
        counts = self._figures.counts
        counts["races"] += 1
        counts["zombies woken behind the FENCE, and fenced" if fenced_off else "woken before the FENCE stood"] += 1
        saved = sum(line[0] == "saved" for line in after_waking)
        if not fenced_off:
            counts["of these: saves confirmed before the FENCE"] += saved
        elif saved:
            counts["confirmed late: stood before the FENCE"] += saved

    def _hear(self, subject: Subject) -> None:
        self._witness.hear(subject.life.attempt, subject.lines)
