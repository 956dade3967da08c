"""The checkpoint example of Flyte's documentation, as a task: it fails on purpose, resumes, and finishes.

It counts no steps and lives for two seconds, so with the default backoff its failures could not be told from a crash
loop and would wait 10 s and 20 s; here the first wait is 1 s.
"""

from __future__ import annotations

import re

import pytest

from tests.e2e.scene import Scene
from tests.e2e.tasks import quick, task

ENTRY = "/examples/use_checkpoint.py:use_checkpoint"


@pytest.mark.parametrize(("iterations", "resumed"), [(9, [0, 3, 6]), (12, [0, 4, 8])])
def test_it_resumes_after_each_failure_and_completes(scene: Scene, iterations: int, resumed: list[int]) -> None:
    command = ["waypost", "run", ENTRY, "--n-iterations", str(iterations)]
    scene.apply(task(scene, "count", command, policy=quick(failures=3)))
    status = scene.wait_finished("count")

    assert scene.outcome("count") == "Succeeded"
    assert [one["outcome"] for one in status["attempts"]] == ["Recoverable", "Recoverable", "Completed"]
    said = [scene.log(f"count-{attempt}") for attempt in (1, 2, 3)]
    assert [_resumed_at(log) for log in said] == resumed
    assert f"finished at iteration {iterations - 1}" in said[-1]
    assert scene.history().broken_promises() == []


def test_without_a_failure_on_the_way_one_attempt_does_it(scene: Scene) -> None:
    command = ["waypost", "run", ENTRY, "--n-iterations", "10"]  # 10 / 3 is no whole number: its arithmetic never fails
    scene.apply(task(scene, "count", command))
    status = scene.wait_finished("count")
    assert [one["outcome"] for one in status["attempts"]] == ["Completed"]


def _resumed_at(log: str) -> int | None:
    found = re.search(r"(?:resuming|starting) at iteration (\d+)", log)
    return int(found[1]) if found else None
