"""A plain script that opens the store by itself tells the operator the same as `waypost run` would."""

from __future__ import annotations

import dataclasses

from tests.unit.sdk.processes import Attempt

SCRIPT = """
import waypost

with waypost.Checkpoints() as checkpoints:
    print("opened")
"""


def test_an_unknown_scheme_is_told_by_exit_code_and_document(attempt: Attempt) -> None:
    done = dataclasses.replace(attempt, store="nosuch://bucket/x").run(SCRIPT)
    assert done.code == 65, done
    assert done.document is not None
    assert done.document.message is not None
    assert "nosuch" in done.document.message
