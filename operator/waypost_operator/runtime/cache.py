"""What the operator knows of the cluster: tasks and pods as raw objects, each the newest version seen.

Three sources write here (the watch, the API server's answers to our own calls, the periodic sweep) and they may
overtake each other, so order of arrival means nothing:

* of two versions of one object the one with the higher resourceVersion stays (they are decimal and comparable:
  Kubernetes guarantees it since 1.35, and etcd's revisions always were); for versions that can't be compared the
  later arrival wins;
* UIDs tell namesakes apart: nothing said about an older UID removes its successor. The successor is known by its
  resourceVersion too, which is higher than any of the older one;
* an object once gone is gone: its UID is remembered for a while, so a late echo does not raise it from the dead.
  Only a version at least as new as the report of its end does: to a watch with a label selector a pod that lost
  the label is as good as deleted, while a GET still finds it.

kopf does not report what vanished while its watch was interrupted (after 410 it lists again and stays silent
about the difference). `Sweep` closes that gap: it marks what a paged LIST returned and drops what it did not,
unless the object is newer than the list. Even so "absent" here only means "not known": before anything is done
because of an absence, `apply` asks the API server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from waypost import contract

Object = Mapping[str, Any]
"""A Kubernetes object as JSON; never changed in place, only replaced."""

REMEMBERED_GONE: Final = 20_000
"""UIDs of vanished objects kept; far more than can be in flight at once."""

FOR_EVER: Final = ""
"""Instead of a version: the object is known to be gone for good (its name was asked for and not found, or taken)."""


class Key(NamedTuple):
    """What the queue holds: one task by its names, whatever its UID."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


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
    """The task a pod belongs to: by our label, else by its controller reference; None for a pod that is not ours."""
    metadata = pod.get("metadata", {})
    task = metadata.get("labels", {}).get(contract.LABEL_TASK)
    if not task:
        owners = [owner for owner in metadata.get("ownerReferences", []) if owner.get("controller")]
        task = next((owner["name"] for owner in owners if owner.get("kind") == contract.KIND), None)
    return Key(names(pod).namespace, task) if task else None


def compare_versions(left: str, right: str) -> int | None:
    """-1, 0 or 1 as `left` is older, equal or newer than `right`; None when they can't be compared."""
    if left == right:
        return 0
    if not (left.isascii() and left.isdecimal() and right.isascii() and right.isdecimal()):
        return None
    return -1 if int(left) < int(right) else 1


class Shelf:
    """All known objects of one kind, by namespace and name. `Cache` holds one for tasks and one for pods."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> Object | None:
        """The newest known version of the object of that name."""
        return self._objects.get(key)

    def put(self, obj: Object) -> bool:
        """Take note of a version of an object; False when a newer one, or the object's end, is known already."""
        key, identity = names(obj), uid(obj)
        if identity in self._gone:
            if compare_versions(version(obj), self._gone[identity]) not in (0, 1):
                return False
            del self._gone[identity]
        known = self._objects.get(key)
        if known is not None and compare_versions(version(obj), version(known)) in (-1, 0):
            return False
        if known is not None and uid(known) != identity:
            self._bury(uid(known), FOR_EVER)
        self._objects[key] = obj
        return True

    def remove(self, key: Key, identity: str, since: str) -> Object | None:
        """Take note that the object with this UID is gone since this version; return what was known of it, if anything.

        `since` is the version of the report of its end, or FOR_EVER when nothing can raise it again.
        """
        self._bury(identity, since)
        known = self._objects.get(key)
        if known is None or uid(known) != identity:
            return None
        return self._objects.pop(key)

    def _bury(self, identity: str, since: str) -> None:
        self._gone[identity] = since
        self._gone.move_to_end(identity)
        while len(self._gone) > REMEMBERED_GONE:
            self._gone.popitem(last=False)


class Cache:
    """Tasks and pods; every method says which tasks have to be looked at because of what it was told."""

    def __init__(self) -> None:
        self.tasks = Shelf()
        self.pods = Shelf()
        self._pods_by_task: dict[Key, set[Key]] = {}

    def task(self, key: Key) -> Object | None:
        """The newest known version of the task."""
        return self.tasks.get(key)

    def pods_of(self, key: Key) -> tuple[Object, ...]:
        """All known pods that carry the task's name as label, by name; also those of a deleted namesake."""
        found = (self.pods.get(pod) for pod in sorted(self._pods_by_task.get(key, ())))
        return tuple(pod for pod in found if pod is not None)

    def put_task(self, task: Object) -> Key | None:
        """Take note of a version of a task; return its key if that was news."""
        return names(task) if self.tasks.put(task) else None

    def remove_task(self, key: Key, identity: str, since: str = FOR_EVER) -> Key | None:
        """Take note that the task with this UID is gone; return its key if that was news. `Shelf.remove` explains."""
        return key if self.tasks.remove(key, identity, since) is not None else None

    def put_pod(self, pod: Object) -> Key | None:
        """Take note of a version of a pod; return the key of its task if that was news. Strangers are not kept."""
        task = task_of_pod(pod)
        if task is None:
            return None
        before = self.pods.get(names(pod))
        if not self.pods.put(pod):
            return None
        if before is not None:
            self._unindex(before)
        self._pods_by_task.setdefault(task, set()).add(names(pod))
        return task

    def remove_pod(self, key: Key, identity: str, since: str = FOR_EVER) -> Key | None:
        """Take note that the pod with this UID is gone; return its task's key if that was news."""
        pod = self.pods.remove(key, identity, since)
        if pod is None:
            return None
        self._unindex(pod)
        return task_of_pod(pod)

    def _unindex(self, pod: Object) -> None:
        task = task_of_pod(pod)
        if task is None:
            return
        pods = self._pods_by_task.get(task, set())
        pods.discard(names(pod))
        if not pods:
            self._pods_by_task.pop(task, None)

    def keys(self) -> set[Key]:
        """Every task known, and every task that known pods name."""
        return {names(task) for task in self.tasks} | set(self._pods_by_task)


class Sweep:
    """One mark-and-sweep of one kind in one namespace (or all, when empty): mark each listed object, then `finish`.

    The list is a snapshot: what it does not contain, and what is not newer than it, no longer exists.
    """

    def __init__(self, shelf: Shelf, namespace: str = "") -> None:
        self._shelf = shelf
        self._namespace = namespace
        self._seen: set[str] = set()

    def mark(self, obj: Object) -> None:
        """The list contains this object."""
        self._seen.add(uid(obj))

    def vanished(self, list_version: str) -> list[Object]:
        """The known objects that the list, taken at `list_version`, shows to be gone."""
        return [
            obj
            for obj in self._shelf
            if uid(obj) not in self._seen
            and self._namespace in ("", names(obj).namespace)
            and compare_versions(version(obj), list_version) in (-1, 0)
        ]
