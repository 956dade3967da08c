"""Reading and ordering raw Kubernetes objects: names, UIDs, versions, and which task a pod belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from waypost import contract
from waypost_operator.model.earlier import NOTHING_EARLIER, Earlier

Object = dict[str, Any]
"""A Kubernetes object as JSON; never changed in place, only replaced."""


class Key(NamedTuple):
    """Namespace and name: of a task (what the queue holds), or of any other object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Seen(NamedTuple):
    """An object and when the operator received it (UTC)."""

    raw: Object
    at: datetime
    looked: datetime | None = None
    """When a live GET last showed this very version; None when only a watch or a list did."""
    earlier: Earlier = NOTHING_EARLIER
    """Of a pod: what earlier versions showed and this one doesn't."""

    def then(self, later: Seen) -> Seen:
        """The later version of the same pod, which remembers this one."""
        return later._replace(earlier=self.earlier.then(self.raw, later.raw))

    def after(self, older: Object) -> Seen:
        """The same, once an older version has come late."""
        return self._replace(earlier=self.earlier.then(older, self.raw))


def uid(obj: Object) -> str:
    """The object's UID; empty if the object has none."""
    return str(obj.get("metadata", {}).get("uid") or "")


def version(obj: Object) -> str:
    """The object's resourceVersion; empty if the object has none."""
    return str(obj.get("metadata", {}).get("resourceVersion") or "")


def names(obj: Object) -> Key:
    """Namespace and name of the object itself."""
    metadata = obj.get("metadata", {})
    return Key(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def task_of_pod(pod: Object) -> Key | None:
    """The task whose label a pod carries; failing that, the task that controls it; None for a stranger."""
    metadata = pod.get("metadata", {})
    task = (metadata.get("labels") or {}).get(contract.LABEL_TASK)
    if not task:
        owners = [owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")]
        task = next((owner["name"] for owner in owners if owner.get("kind") == contract.KIND), None)
    return Key(names(pod).namespace, str(task)) if task else None


def controller_uid(pod: Object) -> str:
    """UID of the pod's controller; empty if it has none."""
    owners = pod.get("metadata", {}).get("ownerReferences") or []
    return next((str(owner.get("uid")) for owner in owners if owner.get("controller")), "")


def compare_versions(left: str, right: str) -> int | None:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`; None when they can't be compared.

    Versions of objects of one kind are decimal numbers that grow: Kubernetes guarantees it since 1.35 (KEP-5504), and
    etcd's revisions always did.
    """
    if left == right:
        return 0
    if not (left.isascii() and left.isdecimal() and right.isascii() and right.isdecimal()):
        return None
    return -1 if int(left) < int(right) else 1


def is_newer(obj: Object, known: Object) -> bool:
    """Whether `obj` should replace `known`; of two versions that can't be compared, the later arrival does."""
    return compare_versions(version(obj), version(known)) in (1, None)
