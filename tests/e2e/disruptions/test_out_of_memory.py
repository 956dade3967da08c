"""A container over its memory limit is killed without a word: a failure, whatever the program would do on SIGTERM."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import ON_SIGTERM, Json, Judged, Traces, Trio
from waypost.contract import Outcome

pytestmark = pytest.mark.matrix


def limit_memory(pod: Json) -> None:
    pod["containers"][0]["resources"] = {"requests": {"cpu": "10m"}, "limits": {"memory": "256Mi"}}


def test_a_program_that_takes_too_much_memory_fails_and_resumes(trio: Trio) -> None:
    trio.start(limit_memory)
    trio.hits()
    for pod in trio.firsts:
        trio.scene.order(pod, "memory:512")
    trio.judge(
        "out of memory",
        Judged(outcome=Outcome.FAILED, rule="ExitCode", budget="failures", evidence="OOMKilled"),
        Traces(exit_codes=dict.fromkeys(ON_SIGTERM, 137), told=False),
    )
