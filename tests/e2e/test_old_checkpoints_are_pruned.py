"""A task keeps as many checkpoints as its retention says, through preemptions, and resumes all the same."""

from __future__ import annotations

import json

from tests.e2e.scene import Scene
from tests.e2e.tasks import FILE_URI, stepping, task


def test_of_many_saves_the_last_two_stay(scene: Scene) -> None:
    train = task(scene, "train", stepping(scene, "train", steps=30, every=2), uri=FILE_URI)
    train["spec"]["checkpoint"]["retention"] = {"keepLast": 2}
    scene.apply(train)
    scene.wait_saved("train", 8)
    scene.evict("train-1")
    scene.wait_finished("train")

    told = scene.ledger("train")
    assert told.complaints == []
    assert len([step for run in told.runs for step in run.saved]) >= 15
    store = scene.status("train")["checkpoint"]["uri"].removeprefix("file:///shared")
    uri = f"file:///shared/{scene.namespace}{store}"
    [kept, *_] = filter(None, scene.stage.in_shared_folder(f"waypost checkpoints ls --json {uri} 2>/dev/null || true"))
    # What an attempt resumed from stays until the next one has saved.
    assert [one["step"] for one in json.loads(kept)["checkpoints"]] == [30, 28, told.runs[-1].resumed_at]
    assert scene.history().broken_promises() == []
