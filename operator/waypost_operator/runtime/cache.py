"""What the operator knows of the cluster: tasks, their pods, and what each task's next decision must remember.

Three sources write here (the watch, the API server's answers to our own calls, the periodic sweep) and they may
overtake each other, so order of arrival means nothing:

* of two versions of one object the newer stays (`objects.is_newer`);
* UIDs tell namesakes apart: nothing said about an older one touches its successor. A task that was deleted keeps a
  `Record` of its own, in front of its namesake's, until `decide` has said Forget;
* an object that is gone stays gone: its UID is remembered, so a late echo does not raise it from the dead;
* what an older version of a pod showed of an order to stop, and the newest doesn't, is kept beside it
  (`model.earlier`).

"Gone" is knowledge for ever, and of a pod it is only ever learnt from a live GET. A pod that leaves the watch (to a
label selector a running pod that lost its label is deleted), or that a complete list does not show, is *missing*:
`decide` asks for it before it believes anything. A task that a list does not show is doubted in the same way, and the
worker asks for it. kopf makes the sweep necessary: when its watch was interrupted it lists again and never reports
what vanished meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from waypost_operator.model.node import NodeSeen
from waypost_operator.model.observed import CleanupImage, CreateRefusal, Observed
from waypost_operator.model.pace import Asked, Pace
from waypost_operator.model.pod import Pod
from waypost_operator.runtime.objects import (
    Key,
    Object,
    Seen,
    compare_versions,
    controller_uid,
    is_newer,
    names,
    task_of_pod,
    uid,
    version,
)

REMEMBERED_GONE: Final = 20_000
"""UIDs of vanished objects kept; far more than can have echoes in flight."""


@dataclass
class Record:
    """One task, told apart by UID, and what its decisions need beside its pods."""

    task: Seen
    gone: bool = False
    confirmed: tuple[str, datetime] | None = None
    """The version in which the API server last showed us the task directly, and when."""
    gone_pods: dict[str, Seen | None] = field(default_factory=dict)
    """By UID: pods that are gone, in their last state if it was ever seen."""
    strangers: dict[str, Seen] = field(default_factory=dict)
    """By name: pods in the way of an attempt that the watch does not cover, as a GET found them."""
    absent: dict[str, datetime] = field(default_factory=dict)
    """By name; see `Observed`. Only of pods that this task asked for."""
    nodes: dict[str, NodeSeen] = field(default_factory=dict)
    hosts: dict[str, NodeSeen] = field(default_factory=dict)
    """Both by pod UID; see `Observed`."""
    paces: dict[Asked, Pace] = field(default_factory=dict)
    refusal: CreateRefusal | None = None

    @property
    def uid(self) -> str:
        """UID of the task."""
        return uid(self.task.raw)

    def confirmed_at(self) -> datetime | None:
        """When the API server last showed us the very version that is known; None if another source brought it."""
        if self.confirmed is None or self.confirmed[0] != version(self.task.raw):
            return None
        return self.confirmed[1]


class Cache:
    """See the module. Methods that take news return the key of the task to look at because of it, or None."""

    def __init__(self, cleanup_image: CleanupImage | None = None) -> None:
        """`cleanup_image` is the same for every task; what observes one shows it."""
        self._cleanup_image = cleanup_image
        self._records: dict[Key, list[Record]] = {}
        self._pods: dict[Key, Seen] = {}
        self._pods_by_task: dict[Key, set[Key]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._doubted_tasks: dict[Key, str] = {}
        self._missing_pods: dict[Key, str] = {}

    # --- what is known ---------------------------------------------------------------------------------------
    def record(self, key: Key) -> Record | None:
        """The task to decide about next under this name: a deleted one that is not forgotten yet comes first."""
        records = self._records.get(key)
        return records[0] if records else None

    def observe(self, key: Key, now: datetime) -> Observed | None:
        """All that `decide` may look at for this key; None when there is no such task."""
        record = self.record(key)
        if record is None:
            return None
        existing = [self._pods[pod] for pod in sorted(self._pods_by_task.get(key, ()))]
        missing = [self._missing_pods[names(seen.raw)] for seen in existing if names(seen.raw) in self._missing_pods]
        last_states = [seen for seen in record.gone_pods.values() if seen is not None]
        return Observed(
            now=now,
            task=record.task.raw,
            task_gone=record.gone,
            task_confirmed_at=record.confirmed_at(),
            pods=tuple(Pod(*seen) for seen in (*existing, *record.strangers.values(), *last_states)),
            gone=frozenset(record.gone_pods),
            missing=frozenset(missing),
            absent=dict(record.absent),
            nodes=dict(record.nodes),
            hosts=dict(record.hosts),
            paces=dict(record.paces),
            create_refusal=record.refusal,
            cleanup_image=self._cleanup_image,
        )

    def answered(self, key: Key, asked: Asked, took: timedelta) -> None:
        """An answer about the task, or about something for its sake, took so long."""
        record = self.record(key)
        if record is not None:
            record.paces[asked] = record.paces.get(asked, Pace()).then(took)

    def keys(self) -> set[Key]:
        """Every task known."""
        return set(self._records)

    def doubted_task(self, key: Key) -> str:
        """UID of the task if a complete list did not show it; empty while there is no such doubt."""
        return self._doubted_tasks.get(key, "")

    def pod_uid(self, pod: Key) -> str:
        """UID of the existing pod of that name; empty if none is known."""
        known = self._pods.get(pod)
        return uid(known.raw) if known is not None else ""

    def tasks(self) -> Iterator[Object]:
        """Every task that is not known to be gone."""
        yield from [record.task.raw for records in self._records.values() for record in records if not record.gone]

    def pods(self) -> Iterator[Object]:
        """Every pod that is not known to be gone, strangers excepted."""
        yield from [seen.raw for seen in self._pods.values()]

    # --- news about tasks ------------------------------------------------------------------------------------
    def put_task(self, raw: Object, at: datetime, confirmed: bool = False) -> Key | None:
        """A version of a task was seen; `confirmed` when it is the API server's answer to a call of ours."""
        key, identity = names(raw), uid(raw)
        if identity in self._gone:
            return None
        records = self._records.setdefault(key, [])
        current = records[-1] if records else None
        news = True
        if current is None or current.uid != identity:
            if current is not None and compare_versions(version(raw), version(current.task.raw)) in (-1, 0):
                return None  # an older namesake's echo
            if current is not None:
                self._end(current)
            current = Record(Seen(raw, at))
            records.append(current)
        else:
            news = is_newer(raw, current.task.raw)
            if news:
                current.task = Seen(raw, at)
        if confirmed:
            current.confirmed = (version(raw), at)
            self._doubted_tasks.pop(key, None)
        return key if news else None

    def end_task(self, key: Key, identity: str) -> Key | None:
        """The task of this UID is gone: its DELETED event was seen, or a live GET found none or another."""
        self._bury(identity)
        for record in self._records.get(key, []):
            if record.uid == identity and not record.gone:
                self._end(record)
                return key
        return None

    def _end(self, record: Record) -> None:
        record.gone = True
        self._bury(record.uid)
        key = names(record.task.raw)
        if self._doubted_tasks.get(key) == record.uid:
            del self._doubted_tasks[key]

    def forget_task(self, key: Key, identity: str) -> None:
        """Drop the record of a task that `decide` has finished with."""
        rest = [record for record in self._records.get(key, []) if record.uid != identity]
        if rest:
            self._records[key] = rest
        else:
            self._records.pop(key, None)

    # --- news about pods -------------------------------------------------------------------------------------
    def put_pod(self, raw: Object, at: datetime, *, looked: bool = False) -> Key | None:
        """A version of a pod was seen, by a live GET if `looked`. Strangers are not kept; see `read_pod`."""
        task, pod = task_of_pod(raw), names(raw)
        if task is None:
            return None
        seen = Seen(raw, at, at if looked else None)
        if uid(raw) in self._gone:
            return self._improve_last_state(task, seen)
        known = self._pods.get(pod)
        if known is not None and uid(known.raw) != uid(raw):
            if not is_newer(raw, known.raw):
                return None
            self._end_pod(known)
            known = None
        news = known is None or is_newer(raw, known.raw)
        if known is not None and news:
            self._unindex(known.raw)
        if news:
            self._pods[pod] = known.then(seen) if known is not None else seen
            self._missing_pods.pop(pod, None)
            self._pods_by_task.setdefault(task, set()).add(pod)
            for record in self._records.get(task, []):
                record.strangers.pop(pod.name, None)
        elif known is not None and version(known.raw) == version(raw):
            self._pods[pod] = known._replace(at=at, looked=seen.looked or known.looked)
        elif known is not None:
            self._pods[pod] = known.after(raw)
            news = self._pods[pod] != known
        return task if news else None

    def read_pod(self, task: Key, raw: Object, at: datetime) -> None:
        """A live GET, made for this task, found this pod: it exists, whoever it belongs to."""
        if task_of_pod(raw) == task:
            self.put_pod(raw, at, looked=True)
        else:
            record = self.record(task)
            if record is not None:
                record.strangers[names(raw).name] = Seen(raw, at, at)
        if self._missing_pods.get(names(raw)) == uid(raw):
            del self._missing_pods[names(raw)]

    def delete_event(self, raw: Object, at: datetime) -> Key | None:
        """The watch reports DELETED: the pod's last state, and that it is missing."""
        news = self.put_pod(raw, at)
        return self.miss_pod(names(raw), uid(raw)) or news

    def end_pod(self, pod: Key, identity: str) -> Key | None:
        """The pod of this UID is gone for good."""
        self._bury(identity)
        known = self._pods.get(pod)
        if known is None or uid(known.raw) != identity:
            return None
        self._end_pod(known)
        return task_of_pod(known.raw)

    def absent_pod(self, task: Key, name: str, identity: str) -> None:
        """A live GET, made for this task, found no pod of this name, or found one of another UID than this one."""
        record = self.record(task)
        if identity:
            self.end_pod(Key(task.namespace, name), identity)
            if record is not None:
                record.gone_pods.setdefault(identity, None)
        if record is not None:
            record.strangers.pop(name, None)

    def note_absence(self, task: Key, name: str, at: datetime) -> None:
        """A live GET, made for this task and asked at this moment, found no pod of this name at all."""
        record = self.record(task)
        if record is not None:
            record.absent = {name: at}

    def forget_pods(self, key: Key, identities: frozenset[str]) -> None:
        """Drop what is kept of pods that nobody will ask for again: gone ones, and missing ones that don't matter."""
        for record in self._records.get(key, []):
            for identity in identities:
                record.gone_pods.pop(identity, None)
                record.nodes.pop(identity, None)
                record.hosts.pop(identity, None)
        for pod in [pod for pod in self._pods_by_task.get(key, ()) if self._missing_pods.get(pod) in identities]:
            self._unindex(self._pods.pop(pod).raw)
            del self._missing_pods[pod]

    def _improve_last_state(self, task: Key, late: Seen) -> Key | None:
        """A pod that is known to be gone sends late news of its end: often the only bearer of its verdict."""
        identity, news = uid(late.raw), None
        for record in self._records.get(task, []):
            if identity in record.gone_pods:
                last = record.gone_pods[identity]
                if last is None or is_newer(late.raw, last.raw):
                    record.gone_pods[identity] = late if last is None else last.then(late)
                    news = task
                elif last.after(late.raw) != last:
                    record.gone_pods[identity] = last.after(late.raw)
                    news = task
        return news

    def _end_pod(self, known: Seen) -> None:
        """Move a pod from what exists to what its task remembers as gone."""
        identity, pod, task = uid(known.raw), names(known.raw), task_of_pod(known.raw)
        self._bury(identity)
        self._unindex(known.raw)
        self._pods.pop(pod, None)
        self._missing_pods.pop(pod, None)
        records = self._records.get(task, []) if task is not None else []
        owner = controller_uid(known.raw)
        for record in [record for record in records if record.uid == owner] or records[-1:]:
            record.gone_pods[identity] = known

    def _unindex(self, pod: Object) -> None:
        task = task_of_pod(pod)
        if task is None:
            return
        pods = self._pods_by_task.get(task, set())
        pods.discard(names(pod))
        if not pods:
            self._pods_by_task.pop(task, None)

    # --- doubts ----------------------------------------------------------------------------------------------
    def doubt_task(self, key: Key, identity: str) -> Key | None:
        """A complete list does not show the task of this UID although it should: to be asked for live."""
        record = next((record for record in self._records.get(key, []) if record.uid == identity), None)
        if record is None or record.gone:
            return None
        self._doubted_tasks[key] = identity
        return key

    def miss_pod(self, pod: Key, identity: str) -> Key | None:
        """The pod of this UID left the watch, or a complete list does not show it: to be asked for live."""
        known = self._pods.get(pod)
        if known is None or uid(known.raw) != identity:
            return None
        self._missing_pods[pod] = identity
        return task_of_pod(known.raw)

    def _bury(self, identity: str) -> None:
        if not identity:
            return
        self._gone[identity] = None
        self._gone.move_to_end(identity)
        while len(self._gone) > REMEMBERED_GONE:
            self._gone.popitem(last=False)
