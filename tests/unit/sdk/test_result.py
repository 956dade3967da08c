"""A returned value in the document: JSON where it can be, words where not, never large, never in the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.execution import RESULT_CHARACTERS, describe_result


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("a mistake of the program")


@pytest.mark.parametrize("value", [7, 0.25, "text", True, None, [1, 2], {"loss": 0.5}, "ü"])
def test_json_values_come_back(value: Any) -> None:
    assert json.loads(describe_result(value)) == value


def test_other_values_are_shown_as_python_shows_them() -> None:
    assert describe_result({1, 2}) == "{1, 2}"
    assert describe_result(object()).startswith("<object object")


@pytest.mark.parametrize("value", ["x" * 10**6, list(range(10**6)), {"k": "y" * 10**6}, bytes(10**6)])
def test_a_large_value_is_cut(value: Any) -> None:
    assert len(describe_result(value)) <= RESULT_CHARACTERS + 3


def test_a_value_that_contains_itself_is_shown() -> None:
    value: list[Any] = []
    value.append(value)
    assert describe_result(value).startswith("[[[")


def test_a_value_that_cannot_be_shown_does_not_fail_the_task() -> None:
    assert describe_result(Broken()).startswith("<Broken instance")
