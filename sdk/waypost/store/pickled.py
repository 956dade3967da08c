"""Pickling small frozen dataclasses of which there may be a hundred thousand.

A save is described to the process that uploads it, and what it found comes back: two objects for each file. A frozen
dataclass with slots asks for its fields by name, in Python, each time; by their values alone it takes a third of that.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def by_values(cls: T) -> T:
    """Let objects of a dataclass of several fields be pickled as its name and the values of all of them."""
    values = operator.attrgetter(*(field.name for field in dataclasses.fields(cls)))

    def reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, values(self)

    cls.__reduce__ = reduce  # type: ignore[assignment]
    return cls
