"""What a program says about a save: its step, metrics and metadata, checked before anything is uploaded."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import Any, SupportsFloat, SupportsIndex

from waypost.errors import ConfigurationError
from waypost.store.keys import KIB, MAX_ANNOTATIONS
from waypost.store.sequences import MAX_SEQUENCE


def checked_step(step: SupportsIndex | None) -> int | None:
    """The step as an int (whatever integer type it came as). Raises ConfigurationError."""
    if step is None:
        return None
    try:
        number = operator.index(step)
    except TypeError as error:
        raise ConfigurationError(f"save(step={step!r}): a step is a whole number") from error
    if isinstance(step, bool) or not 0 <= number <= MAX_SEQUENCE:
        raise ConfigurationError(f"save(step={step!r}): a step is a whole number from 0 to 2^63-1")
    return number


def checked_metrics(metrics: Mapping[str, SupportsFloat] | None) -> dict[str, float]:
    """The metrics as plain numbers (whatever array library they came from). Raises ConfigurationError."""
    checked: dict[str, float] = {}
    for name, value in (metrics or {}).items():
        if not isinstance(name, str):
            raise ConfigurationError(f"save(metrics=...): the name {name!r} is no text")
        try:
            checked[name] = value if type(value) is int else float(value)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"save(metrics=...): {name!r} is {value!r}, which is no number") from error
    return checked


def checked_metadata(metadata: Mapping[str, Any] | None, metrics: Mapping[str, float]) -> dict[str, Any]:
    """A copy of the metadata as JSON knows it. Raises ConfigurationError: also when all of it is too large."""
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"save(metadata=...): it can't be written as JSON: {error}") from error
    size = len(text) + len(json.dumps(dict(metrics)))
    if size > MAX_ANNOTATIONS:
        raise ConfigurationError(
            f"save(metrics=..., metadata=...): together they take {size} bytes as JSON, more than "
            f"{MAX_ANNOTATIONS // KIB} KiB; keep what is large in the checkpoint itself"
        )
    checked: dict[str, Any] = json.loads(text)
    return checked
