"""SIGKILL at random moments of a writer's life, thousands of times on the same stores.

Each life restores what the dead left, checks it, and saves on; the next blow is aimed by the ledger: at the start, the
restore, a save or the deleting behind it, then some lines further, then some microseconds more. What it really hit is
taken from the last lines that the writer wrote, and printed. It hits the writer, the process that uploads for it (the
writer has to go on saving then), or both; none of those processes may outlive its writer.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.torture import writer
from tests.torture.contents import identify, read_tree
from tests.torture.errors import TortureError
from tests.torture.figures import Figures
from tests.torture.ledger import Witness
from tests.torture.lives import Line, Subject, fresh_folder, open_requests, outlives, spin
from tests.torture.places import Place
from tests.torture.writer import Life

LIVES_PER_STORE = 500
SERVER_KILL_EVERY = 60
"""Lives, on average, in the middle of which the server is killed and started again."""
_LINES = {"start": 12, "restore": 3, "save": 5, "prune": 3}
_SAVES = 3
_KEPT = 3
Hits = Literal["the writer", "its uploader first", "both at once"]
_HITS: tuple[Hits, ...] = ("the writer", "the writer", "its uploader first", "both at once")
_PHASES = {"starting": "start", "started": "start", "restoring": "restore", "saving": "save"}


@dataclass(frozen=True)
class Blow:
    """When to strike: so many lines behind the n-th line that begins a phase, and so many seconds more."""

    phase: str
    nth: int
    lines: int
    seconds: float
    hits: Hits

    @classmethod
    def draw(cls, chance: random.Random) -> Blow:
        """Each phase as often as the others; delays from 10 microseconds to 10 milliseconds, the short ones more."""
        phase = chance.choice(list(_LINES))
        nth = chance.randint(1, _SAVES) if phase in ("save", "prune") else 1
        delay = 10 ** chance.uniform(-5, -2)
        return cls(phase, nth, chance.randint(0, _LINES[phase]), delay, chance.choice(_HITS))

    def begins(self, line: Line) -> bool:
        """Whether this line begins the phase."""
        if line[0] == "request":
            return self.phase == "prune" and _deletes(line)
        return _PHASES.get(line[0]) == self.phase and line[0] != "started"


def torture(place: Place, count: int, seed: int) -> Figures:
    """Kill `count` writers."""
    figures = Figures(f"{count} kills on {place.name}, seed {seed}")
    chance = random.Random(f"{seed} kills {place.name}")
    for number in itertools.count(1):
        if not (lives := min(count, LIVES_PER_STORE)):
            break
        count -= lives
        _one_store(place, f"kills-{number}", lives, chance, figures)
        figures.say()
    if figures.counts["saves confirmed"] < figures.counts["writers killed"] // 4:
        figures.complaints.append("too little was saved for the kills to mean anything")
    return figures


def _one_store(place: Place, store: str, lives: int, chance: random.Random, figures: Figures) -> None:
    folder = fresh_folder(place.folder, f"writer-of-{store}")
    witness = Witness()
    for attempt in range(1, lives + 1):
        subject = Subject.begin(Life(place.uri(store), attempt, folder, kept=_KEPT))
        try:
            _strike(place, subject, Blow.draw(chance), chance, figures)
        except TortureError as error:
            witness.complaints.append(str(error))
            subject.kill()
        witness.hear(attempt, subject.lines)
        _look_at_what_it_leaves(folder, attempt, witness)
        if witness.complaints:
            break
    _audit(place, store, folder, lives + 1, witness)
    figures.counts["restores checked"] += witness.restored
    figures.counts["saves confirmed"] += len(witness.confirmed)
    figures.counts["stores, each verified at its end"] += 1
    figures.complaints += [f"{store}: {complaint}" for complaint in witness.complaints]


def _strike(place: Place, subject: Subject, blow: Blow, chance: random.Random, figures: Figures) -> None:
    left, saves = blow.nth, 0

    def reached(line: Line) -> bool:
        nonlocal left, saves
        left -= blow.begins(line)
        saves += line[0] == "saved"
        return left == 0 or saves == 3 * _SAVES  # enough of a life in which nothing is deleted

    running = subject.until(reached)
    if place.server is not None and chance.random() < 1 / SERVER_KILL_EVERY:
        place.server.kill()
        place.server.restart()
        running = running and subject.until(lambda line: line[0] == "saved")
        figures.counts["times the server was killed and restarted"] += 1
    for _ in range(blow.lines):
        running = running and subject.next_line() is not None
    if not running:
        raise TortureError(f"it ended by itself; {subject.last_words()}")
    spin(blow.seconds)
    uploaders = subject.children()
    if blow.hits != "the writer":
        for uploader in uploaders:
            os.kill(uploader, signal.SIGKILL)
        figures.counts["uploaders killed"] += len(uploaders)
    if blow.hits == "its uploader first":
        if uploaders and not subject.until(lambda line: line[0] == "saved"):
            raise TortureError(f"it ended with its uploader; {subject.last_words()}")
        spin(blow.seconds)
        uploaders += subject.children()
    subject.kill()
    if outlived := [uploader for uploader in uploaders if outlives(uploader)]:
        raise TortureError(f"uploaders outlive their writer: {outlived}")
    figures.counts["uploaders that ended with their writer"] += len(uploaders)
    figures.hits[what_it_did(subject.lines)] += 1
    figures.counts["writers killed"] += 1


def what_it_did(lines: list[Line]) -> tuple[str, str]:
    """The phase in which a ledger breaks off, and the request that has no answer."""
    phase = "born"
    for word, *_ in lines:
        if word not in ("request", "done", "freezing"):
            phase = _PHASES.get(word, "work")
    under_way = open_requests(lines)
    if not under_way:
        return phase, "between requests"
    _, _, verb, where = under_way[-1]
    if _deletes(under_way[-1]):
        phase = "prune"
    return phase, f"in the middle of {verb} {where}"


def _deletes(request: Line) -> bool:
    """Whether this request frees what a prune condemned: a pack or a manifest goes, an entry becomes a stub."""
    _, _, verb, where = request
    return (verb == "delete" and where != "probe") or (verb, where) == ("put", "stubs")


def _look_at_what_it_leaves(folder: Path, attempt: int, witness: Witness) -> None:
    state = folder / "state"
    if not state.exists():
        return
    try:
        witness.folder(attempt, identify(read_tree(state)))
    except TortureError as error:
        witness.complaints.append(f"attempt {attempt} left a torn folder: {error}")


def _audit(place: Place, store: str, folder: Path, attempt: int, witness: Witness) -> None:
    """One more writer, which nobody kills, must find everything in order; so must a reader, and the log itself."""
    last = Subject.begin(Life(place.uri(store), attempt, folder, saves=5, kept=_KEPT))
    if last.wait() != 0:
        witness.complaints.append(f"the store needs repair: its last writer ended; {last.last_words()}")
    witness.hear(attempt, last.lines)
    leftovers = [*place.leftovers(store), *(path.name for path in folder.glob(".state.*"))]
    if leftovers:
        witness.complaints.append(f"unfinished files were left behind: {leftovers}")
    reader = Subject.begin(Life(place.uri(store), attempt, folder), writer.verify)
    if reader.wait() != 0:
        witness.complaints.append(f"the store doesn't verify: {reader.last_words()}")
    _, complaints = place.judge(store, witness.confirmed)
    witness.complaints += complaints
