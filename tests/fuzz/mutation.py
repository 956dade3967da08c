"""Changing JSON as JSON: values for others of every kind, members added, dropped and doubled, lists grown and cut."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30),
    *(0.0, -0.5, 1e308, float("nan"), float("inf")),
    *("", "a", ".", "..", "../x", "/", "/etc/passwd", "a/../b", "a\0b", "\udcff", "x" * 300, "inline", "NaN", "0" * 64),
    *([], [[]], [1, 1], [[1, 2**63 - 1]], {}, {"a": {}}),
)


def mutate(data: bytes, chance: random.Random) -> bytes | None:
    """The same JSON with a few changes; None for what is no JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        value = _changed(value, chance)
    return json.dumps(value, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _changed(value: Any, chance: random.Random) -> Any:
    """`value` with one change, somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {key: inner for key, inner in value.items() if key != name}
            case 1:
                return value | {str(chance.choice(ODD)): copy.deepcopy(value[name])}
            case 2:
                return value | {name: copy.deepcopy(chance.choice(list(value.values())))}
        return value | {name: _changed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value[:at], *[value[at]] * chance.choice((2, 3, 50)), *value[at + 1 :]]
            case 2:
                return [*value[:at], copy.deepcopy(chance.choice(ODD)), *value[at:]]
            case 3:
                return value[::-1]
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.6:
        return value + chance.choice((-1, 1, -2, 10, 2**32, -(2**40)))
    if isinstance(value, str) and value and chance.random() < 0.6:
        at = chance.randrange(len(value))
        return value[:at] + chance.choice(("", "/", "..", "\0", "x", "é", value)) + value[at + 1 :]
    return copy.deepcopy(chance.choice(ODD))
