"""Tells what happens to a task while it happens: one plain line for each thing a person would want to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.e2e.scene import Scene
from tests.witness.history import TERMINAL
from waypost import contract


class Clock:
    """Prints lines with the time since the demo began."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        print(f"{int(self.seconds) // 60:02}:{self.seconds % 60:04.1f}  {text}", flush=True)


class Follower:
    """Compares what the recorder and the ledger show with what was told already."""

    def __init__(self, scene: Scene, task: str, say: Callable[[str], None]) -> None:
        self._scene, self._task, self._say = scene, task, say
        self._told: set[str] = set()

    def until(self, what: str, ask: Callable[[], object], seconds: float) -> None:
        """Tell the news until `ask` is true."""

        def look() -> object:
            self.tell_news()
            return ask()

        self._scene.wait(what, look, seconds)
        self.tell_news()

    def tell_news(self) -> None:
        """Say what is new."""
        for line in self._news():
            if line not in self._told:
                self._told.add(line)
                self._say(line)

    def _news(self) -> Iterable[str]:
        for pod in self._scene.recorder.all_of("Pod"):
            if pod["metadata"].get("labels", {}).get(contract.LABEL_TASK) == self._task:
                yield from self._about_pod(pod)
        yield from self._about_work()
        for event in self._scene.events(self._task):
            yield f"    operator: {event['reason']}: {event['note']}"

    def _about_pod(self, pod: dict[str, Any]) -> Iterable[str]:
        name, phase = pod["metadata"]["name"], pod["status"].get("phase")
        if phase == "Running" or phase in TERMINAL:
            yield f"pod {name} runs on {pod['spec'].get('nodeName')}"
        if pod["metadata"].get("deletionTimestamp"):
            yield f"pod {name} is told to go (SIGTERM)"
        if phase in TERMINAL:
            yield f"pod {name} has ended"

    def _about_work(self) -> Iterable[str]:
        for run in self._scene.ledger(self._task).runs:
            if run.resumed_at is not None:
                yield f"attempt {run.attempt} starts at step {run.resumed_at}"
            for step in run.saved:
                yield f"attempt {run.attempt} has saved step {step}"
