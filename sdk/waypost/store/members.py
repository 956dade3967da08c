"""Reading JSON that somebody else may have written: every member is asked for by type, and bounded.

Used for log entries and manifests, which come from a store that others can write to.
"""

from __future__ import annotations

from typing import Any

from waypost.store.sequences import MAX_SEQUENCE, Sequences


class Members:
    """Typed reading of a JSON object's members; every mismatch is a ValueError that names the member."""

    def __init__(self, record: object) -> None:
        if not isinstance(record, dict):
            raise ValueError(f"a {type(record).__name__} stands where an object has to")  # noqa: TRY004 - one error
        self.record: dict[str, Any] = record

    def _wrong(self, name: str, wanted: str) -> ValueError:
        return ValueError(f"its member {name!r} isn't {wanted}" if name in self.record else f"it lacks {name!r}")

    def integer(self, name: str, low: int = 0, high: int = MAX_SEQUENCE) -> int:
        value = self.record.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}")
        return value

    def optional_integer(self, name: str, low: int = 0) -> int | None:
        return None if self.record.get(name) is None else self.integer(name, low)

    def text(self, name: str) -> str:
        value = self.record.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.record.get(name) is None else self.text(name)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.record.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return value

    def sequences(self, name: str) -> Sequences:
        try:
            return Sequences.from_json(self.record.get(name))
        except ValueError as error:
            raise ValueError(f"its member {name!r} {error}") from error
