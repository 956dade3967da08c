"""Judges what the writers wrote down of one store: was anything lost, torn, or guessed? Pure.

Fed with one ledger after the other, in the order of the attempts. It knows which states were begun to be saved and
which were confirmed, and so what a restore may give.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.torture.contents import Label


class Witness:
    """What is known of one store from the outside."""

    def __init__(self) -> None:
        self.begun: set[Label] = set()
        self.confirmed: dict[int, Label] = {}
        """Sequence to state, as the SDK confirmed it."""
        self.restored = 0
        self.complaints: list[str] = []

    @property
    def newest(self) -> int:
        """The highest sequence confirmed; 0 if none."""
        return max(self.confirmed, default=0)

    def hear(self, attempt: int, lines: Sequence[Sequence[str]]) -> None:
        """Take one writer's ledger, or the rest of it, into account."""
        for word, *rest in lines:
            match word:
                case "saving":
                    self.begun.add(Label(attempt, int(rest[0])))
                case "saved":
                    self._saved(attempt, int(rest[0]), int(rest[1]))
                case "restored":
                    self._restored(attempt, *map(int, rest))
                case "torn":
                    self.complaints.append(f"attempt {attempt} restored a torn state: {' '.join(rest)}")
                case "failed":
                    self.complaints.append(f"attempt {attempt} failed: {' '.join(rest)}")
                case _:
                    pass

    def folder(self, attempt: int, found: Label) -> None:
        """Take into account what the folder of a dead writer's restore holds: a whole state."""
        if found not in self.begun:
            self.complaints.append(f"after attempt {attempt} the restored folder held {found}, which nobody ever saved")

    def _saved(self, attempt: int, step: int, sequence: int) -> None:
        label = Label(attempt, step)
        if sequence in self.confirmed:
            self.complaints.append(f"{label} and {self.confirmed[sequence]} were both confirmed as {sequence}")
        self.confirmed[sequence] = label

    def _restored(self, attempt: int, sequence: int, by: int, step: int) -> None:
        self.restored += 1
        label = Label(by, step)
        if sequence < self.newest:
            self.complaints.append(
                f"attempt {attempt} restored {f'checkpoint {sequence}' if sequence else 'nothing'}, though "
                f"{self.newest} had been confirmed: {self.confirmed[self.newest]} was lost"
            )
        elif sequence and label not in self.begun:
            self.complaints.append(f"attempt {attempt} restored {label}, which nobody ever saved")
        elif self.confirmed.get(sequence, label) != label:
            self.complaints.append(
                f"attempt {attempt} restored {label} as {sequence}, which was {self.confirmed[sequence]}"
            )
