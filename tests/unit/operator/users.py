"""What users do with tasks, at random: apply, edit, suspend, delete, and apply again under the same name."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from tests.unit.operator.accidents import FOREGROUND, Accidents
from tests.unit.operator.promises import FOREIGN
from tests.unit.operator.tasks import UID, task
from waypost_operator.model.raw import Json

LIMITS = {
    "activeDeadlineSeconds": (30, 300),
    "attemptDeadlineSeconds": (20, 200),
    "pendingDeadlineSeconds": (2, 20),
}
"""Of time, that a task may have: a short one and a long one."""


class Users(Accidents):
    """The accidents, and all that users do beside them."""

    delete_odds: ClassVar[float] = 0.25
    """Of a new task to have deletionPolicy Delete."""

    def __init__(self, dice: Random) -> None:
        super().__init__(dice, self.new_task(dice, UID))
        self.note_holder()

    @classmethod
    def new_task(cls, dice: Random, uid: str) -> Json:
        """A task with limits of time, each with some odds; now and then held by somebody else."""
        spec: dict[str, Any] = {limit: dice.choice(either) for limit, either in LIMITS.items() if dice.random() < 0.08}
        if dice.random() < 0.6:
            spec["ttlSecondsAfterFinished"] = dice.choice([0, 20, 100, 100])
        policy = "Delete" if dice.random() < cls.delete_odds else "Retain"
        spec["checkpoint"] = {"uri": "s3://bucket/runs", "deletionPolicy": policy}
        failures = dice.choice([0, 2, 5])
        body = task(uid=uid, max_failures=failures, initial_seconds=2, max_seconds=30, **spec)
        if dice.random() < 0.15:
            body["metadata"]["finalizers"] = [FOREIGN]
        return body

    def note_holder(self) -> None:
        if FOREIGN in self.finalizers:
            self.held.add(self.uid)

    def edit(self) -> None:
        self.world.refuse_creates = None
        self.change_spec(container="main")

    def suspend_or_resume(self) -> None:
        if self.world.task is not None:
            self.suspended.add(self.uid)
            self.change_spec(suspend=not self.world.task["spec"].get("suspend", False))

    def change_ttl(self) -> None:
        self.change_spec(ttlSecondsAfterFinished=self.dice.choice([None, 0, 20, 100]))

    def change_policy(self) -> None:
        policy = self.dice.choice(["Delete", "Delete", "Retain"])
        self.change_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": policy})

    def change_spec(self, **changes: object) -> None:
        if self.world.task is not None:
            self.world.edit_spec(**changes)

    def delete_task(self) -> None:
        if not self.deleting(self.uid) and self.dice.random() < 0.4:
            self.world.ask_to_delete_task(*([FOREGROUND] if self.dice.random() < 0.5 else []))

    def replace_task(self) -> None:
        """`kubectl replace --force`: the namesake comes while its predecessor's pods are still there."""
        if not self.deleting(self.uid):
            self.world.ask_to_delete_task()
        if self.world.task is not None or self.world.namespace_terminating:
            return
        uid = f"{len(self.uids):08d}{UID[8:]}"
        self.seen["namesake"] += 1
        if self.world.may_run:
            self.seen["namesake while a pod of the old task may run"] += 1
        self.world.apply_again(self.new_task(self.dice, uid))
        self.uids.append(uid)
        self.note_holder()

    def delete_namespace(self) -> None:
        if not self.deleting(self.uid) and self.dice.random() < 0.1:
            self.world.namespace_terminating = True
            self.world.ask_to_delete_task()
