"""What each answer of the API server teaches, step by step, as `waypost_operator.decide` asks for it.

The API server here is a list of answers to give; what was asked of it is kept. Answers that a real one gives easily
are tried in tests/integration/operator; here are those that it gives rarely.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from waypost.contract import EventReason
from waypost_operator.model.decision import (
    CreatePod,
    DeletePod,
    DeleteTask,
    Forget,
    LookAtNode,
    LookAtPod,
    LookAtTask,
    Step,
    WriteFinalizers,
    WriteStatus,
)
from waypost_operator.model.decision import TaskEvent as Said
from waypost_operator.model.node import NodeFate
from waypost_operator.model.observed import Observed
from waypost_operator.runtime.apply import AGAIN, Applier, Later, Outcome
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.client import Accepted, Answer, Client, Refused, Unclear
from waypost_operator.runtime.events import EventPoster
from waypost_operator.runtime.witness import WatchWitness

from .objects import EARLY, KEY, LATE, pod, task

NOT_FOUND = Refused(404, "not found", "NotFound")
CONFLICT = Refused(409, "the object has been modified", "Conflict")
EXISTS = Refused(409, 'pods "train-1" already exists', "AlreadyExists")
LOST = Unclear("reset")
BUSY = Refused(429, "too many requests", "TooManyRequests", retry_after=7.0)
EVENT = Said("Normal", EventReason.ATTEMPT_STARTED, "attempt 1 started")
WRITE = WriteStatus({"attempt": 1}, "10", (EVENT,))
RELEASE = WriteFinalizers(("example.com/hold",), "10", (EVENT,))
EXPIRE = DeleteTask("task-1", "10", (EVENT,))
CREATE = CreatePod("train-1", 1, {"metadata": {"name": "train-1"}})


class Script:
    """What `Applier` uses of `Client`: gives the answers of the test, in order, and keeps the questions."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def _next(self, question: str) -> Answer:
        self.asked.append(question)
        return self.answers.pop(0)

    async def get(self, resource: Any, key: Any) -> Answer:
        return await self._next(f"GET {resource.plural} {key.name}")

    async def create_pod(self, namespace: str, body: Any) -> Answer:
        return await self._next("POST pods")

    async def delete_pod(self, key: Any, identity: str) -> Answer:
        return await self._next(f"DELETE pods {key.name} {identity}")

    async def delete_task(self, key: Any, identity: str, resource_version: str) -> Answer:
        return await self._next(f"DELETE {key.name} {identity} {resource_version}")

    async def put_status(self, task: Any, resource_version: str, status: Any) -> Answer:
        return await self._next(f"PUT status {resource_version}")

    async def patch_finalizers(self, task: Any, resource_version: str, finalizers: Any) -> Answer:
        return await self._next(f"PATCH finalizers {resource_version} {','.join(finalizers)}")


class Scene:
    """A task in the cache and an applier whose API server follows a script."""

    def __init__(self, *answers: Answer) -> None:
        self.script = Script(*answers)
        self.cache = Cache()
        self.cache.put_task(task(version=10), EARLY)
        self.events = EventPoster(cast(Client, self.script), "test")
        self.applier = Applier(cast(Client, self.script), self.cache, self.events, WatchWitness(), lambda: LATE)

    def observed(self) -> Observed:
        found = self.cache.observe(KEY, LATE)
        assert found is not None
        return found

    def do(self, step: Step) -> Outcome:
        return asyncio.run(self.applier.carry_out(KEY, self.observed(), step))


class SlowScript(Script):
    """Answers come a minute after the question."""

    now = EARLY

    async def _next(self, question: str) -> Answer:
        self.now += timedelta(seconds=60)
        return await super()._next(question)


@pytest.mark.parametrize("step", [LookAtTask(), WRITE, RELEASE])
def test_a_task_counts_as_confirmed_since_it_was_asked_for_however_long_the_answer_took(step: Step) -> None:
    scene = Scene()
    script = SlowScript(Accepted(task(version=11, attempt=1)))
    applier = Applier(cast(Client, script), scene.cache, scene.events, WatchWitness(), lambda: script.now)
    asyncio.run(applier.carry_out(KEY, scene.observed(), step))
    assert scene.observed().task_confirmed_at == EARLY


def test_a_pod_and_a_node_count_as_looked_at_since_they_were_asked_for() -> None:
    scene = Scene()
    script = SlowScript(Accepted(pod()), Accepted({"metadata": {"name": "n"}}))
    applier = Applier(cast(Client, script), scene.cache, scene.events, WatchWitness(), lambda: script.now)
    asyncio.run(applier.carry_out(KEY, scene.observed(), LookAtPod("train-1", "pod-1")))
    asyncio.run(applier.carry_out(KEY, scene.observed(), LookAtNode("n", "pod-1")))
    assert scene.observed().pods[0].looked_at == EARLY
    assert scene.observed().nodes["pod-1"].at == EARLY + timedelta(seconds=60)


def test_a_status_that_was_written_is_known_at_once_and_then_told() -> None:
    scene = Scene(Accepted(task(version=11, attempt=1)))
    assert scene.do(WRITE) is AGAIN
    assert scene.observed().resource_version == "11"
    assert scene.observed().task_confirmed_at == LATE
    assert scene.events.waiting == 1


def test_finalizers_are_written_at_the_version_they_were_read_at_and_a_conflict_is_looked_into() -> None:
    scene = Scene(CONFLICT, Accepted(task(version=12)))
    assert scene.do(RELEASE) is AGAIN
    assert scene.script.asked == ["PATCH finalizers 10 example.com/hold", "GET checkpointedtasks train"]
    assert scene.observed().resource_version == "12"
    assert scene.events.waiting == 0


def test_a_refused_create_is_kept_with_what_tells_a_terminating_namespace() -> None:
    scene = Scene(Refused(403, "it is being terminated", "Forbidden", causes=("NamespaceTerminating",)))
    scene.do(CREATE)
    refusal = scene.observed().create_refusal
    assert refusal is not None
    assert refusal.namespace_terminating


@pytest.mark.parametrize("answer", [CONFLICT, NOT_FOUND, LOST, BUSY])
def test_nothing_is_told_about_a_status_that_was_not_written(answer: Answer) -> None:
    scene = Scene(answer, Accepted(task(version=12)))
    scene.do(WRITE)
    assert scene.events.waiting == 0


def test_a_conflict_makes_it_look_at_the_task() -> None:
    scene = Scene(CONFLICT, Accepted(task(version=12, attempt=3)))
    assert scene.do(WRITE) is AGAIN
    assert scene.script.asked == ["PUT status 10", "GET checkpointedtasks train"]
    assert scene.observed().resource_version == "12"


def test_a_status_without_a_task_means_that_the_task_is_gone() -> None:
    scene = Scene(NOT_FOUND)
    assert scene.do(WRITE) is AGAIN
    assert scene.observed().task_gone


@pytest.mark.parametrize("answer", [LOST, BUSY, Refused(500, "etcd is away"), Refused(403, "forbidden")])
@pytest.mark.parametrize("step", [WRITE, EXPIRE, DeletePod("train-1", "pod-1"), LookAtTask(), LookAtPod("train-1")])
def test_trouble_teaches_nothing_and_is_met_with_patience(step: Step, answer: Answer) -> None:
    scene = Scene(answer)
    before = scene.observed()
    outcome = scene.do(step)
    assert isinstance(outcome, Later)
    assert outcome.at_least == (7.0 if answer is BUSY else 0.0)
    assert scene.observed() == before


def test_a_deleted_task_is_gone_only_when_a_look_says_so() -> None:
    scene = Scene(Accepted({"kind": "Status", "details": {"uid": "task-1"}}), NOT_FOUND)
    assert scene.do(EXPIRE) is AGAIN
    assert scene.script.asked == ["DELETE train task-1 10", "GET checkpointedtasks train"]
    assert scene.observed().task_gone
    assert scene.events.waiting == 1


def test_a_deleted_task_that_a_finalizer_keeps_is_known_to_be_deleted() -> None:
    kept = task(version=11)
    kept["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:05Z"
    scene = Scene(Accepted(kept))
    assert scene.do(EXPIRE) is AGAIN
    assert scene.observed().deleting
    assert scene.events.waiting == 1


@pytest.mark.parametrize("answer", [CONFLICT, NOT_FOUND])
def test_a_task_that_changed_before_its_deletion_is_looked_at_and_nothing_is_told(answer: Answer) -> None:
    scene = Scene(answer, Accepted(task(version=12)))
    assert scene.do(EXPIRE) is AGAIN
    assert scene.observed().resource_version == "12"
    assert not scene.observed().task_gone
    assert scene.events.waiting == 0


def test_a_created_pod_is_known_at_once() -> None:
    scene = Scene(Accepted(pod()))
    assert scene.do(CREATE) is AGAIN
    assert [one.uid for one in scene.observed().pods] == ["pod-1"]


def test_a_create_without_an_answer_is_no_refusal() -> None:
    scene = Scene(LOST)
    assert isinstance(scene.do(CREATE), Later)
    assert scene.observed().create_refusal is None


def test_a_create_that_meets_a_pod_looks_whose_it_is() -> None:
    stranger = pod("other", labelled=False)
    stranger["metadata"]["ownerReferences"] = []
    scene = Scene(EXISTS, Accepted(stranger))
    assert scene.do(CREATE) is AGAIN
    assert scene.script.asked[-1] == "GET pods train-1"
    assert [one.uid for one in scene.observed().pods] == ["other"]
    assert scene.observed().create_refusal is None


@pytest.mark.parametrize("answer", [CONFLICT, BUSY, Refused(422, "spec.x: Invalid value"), Refused(500, "webhook")])
def test_every_other_answer_to_a_create_is_a_refusal_in_the_api_server_s_words(answer: Refused) -> None:
    scene = Scene(answer, answer, Accepted(pod()))
    for count in (1, 2):
        assert scene.do(CREATE) is AGAIN
        refusal = scene.observed().create_refusal
        assert refusal is not None
        assert (refusal.code, refusal.message, refusal.count, refusal.at) == (
            answer.status,
            answer.message,
            count,
            LATE,
        )
    scene.do(CREATE)
    assert scene.observed().create_refusal is None


def test_a_delete_of_a_pod_that_was_replaced_meanwhile_looks_again() -> None:
    scene = Scene(Refused(409, "UID in precondition: pod-1", "Conflict"), Accepted(pod("pod-2", 30)))
    scene.cache.put_pod(pod("pod-1", 20), EARLY)
    assert scene.do(DeletePod("train-1", "pod-1")) is AGAIN
    assert scene.observed().gone == {"pod-1"}
    assert scene.cache.pod_uid(KEY._replace(name="train-1")) == "pod-2"


def test_a_pod_that_is_not_found_is_gone_and_so_is_whatever_was_known_under_its_name() -> None:
    scene = Scene(NOT_FOUND)
    scene.cache.put_pod(pod("pod-2", 30), EARLY)
    assert scene.do(LookAtPod("train-1", "pod-1")) is AGAIN
    assert scene.observed().gone == {"pod-1", "pod-2"}


def test_a_task_of_another_uid_is_another_task() -> None:
    scene = Scene(Accepted(task("task-2", 50)))
    assert scene.do(LookAtTask()) is AGAIN
    assert (scene.observed().uid, scene.observed().task_gone) == ("task-1", True)
    scene.do(Forget((EVENT,)))
    assert (scene.observed().uid, scene.observed().task_confirmed_at) == ("task-2", LATE)
    assert scene.events.waiting == 1


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        (Accepted({"metadata": {"name": "n"}}), NodeFate.PRESENT),
        (NOT_FOUND, NodeFate.GONE),
        (Refused(403, "forbidden"), NodeFate.UNREADABLE),
    ],
)
def test_a_node_is_evidence_whatever_the_answer(answer: Answer, fate: NodeFate) -> None:
    scene = Scene(answer)
    assert scene.do(LookAtNode("n", "pod-1")) is AGAIN
    assert scene.observed().nodes["pod-1"].fate is fate
