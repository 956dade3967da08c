"""Pickling small frozen dataclasses of which there may be a hundred thousand.

A save is described to the process that uploads it, and what it found comes back: two objects for each file. A frozen
dataclass with slots asks for its fields by name, in Python, each time; by their values alone it takes a third of that.
"""

from __future__ import annotations

import copyreg
import dataclasses
import operator
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def by_values(cls: T) -> T:
    """Pickle objects of a dataclass as its name and the values of its fields: two or more, all for `__init__`."""
    first, second, *others = (field.name for field in dataclasses.fields(cls))
    values = operator.attrgetter(first, second, *others)

    def reduce(one: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, values(one)

    copyreg.pickle(cls, reduce)  # for exactly this class: one that is derived from it is pickled as itself
    return cls
