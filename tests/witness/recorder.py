"""An independent recorder of pods, tasks and Events: every version that the API server shows, as lines of a file.

It lists, then watches from the list's resourceVersion, and lists again when a watch breaks in a way that may have
hidden something (410, an ERROR event, a lost connection to a restarted server). A watch delivers one kind's changes
in the order of their resourceVersions, so the file's order is the cluster's order. A list is written as ONE line:
it is a snapshot at one moment, and judging it object by object would see states that never were.

Nothing here belongs to the operator or to kopf: what is to be judged doesn't hold the pen.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import urlencode

import aiohttp

from tests.witness.api import Api
from tests.witness.background import Background
from tests.witness.history import History
from waypost import contract

PAGE_LIMIT = 500
WATCH_SECONDS = 240
RETRY_SECONDS = 0.2
FIRST_LIST_SECONDS = 60.0


KINDS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    contract.KIND: f"/apis/{contract.API_VERSION}/namespaces/{{}}/{contract.PLURAL}",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
}


class Recorder:
    """Records one namespace into a file while it is entered as a context manager."""

    def __init__(self, kubeconfig: Path, namespace: str, file: Path) -> None:
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._file = file
        self._background = Background(f"recorder-{namespace}")
        self._listed = {kind: threading.Event() for kind in KINDS}
        self._latest: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        """By kind, then by name: who asks for the pods, twenty times a second, doesn't pay for thousands of Events."""

    def __enter__(self) -> Recorder:
        self._file.touch()
        self._running = self._background.spawn(self._record())
        for kind, listed in self._listed.items():
            if not listed.wait(FIRST_LIST_SECONDS):
                self.__exit__(None, None, None)
                raise TimeoutError(f"the recorder could not list {kind} in {FIRST_LIST_SECONDS:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.close()

    def history(self) -> History:
        """What was recorded so far, ready to be judged; raises what ended the recorder, if something did."""
        if self._running.done() and not self._running.cancelled():
            self._running.result()
        return History.read(self._file)

    def latest(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object as last seen; None when there is none (any more)."""
        return self._latest[kind].get(name)

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind as last seen, by name."""
        return [item for _, item in sorted(self._latest[kind].copy().items())]

    async def _record(self) -> None:
        api = await Api.from_kubeconfig(self._kubeconfig)
        with self._file.open("a", encoding="utf-8", buffering=1) as lines:
            async with api.session() as session, asyncio.TaskGroup() as group:
                for kind, path in KINDS.items():
                    url = f"{api.server}{path.format(self._namespace)}"
                    watch = _Watch(session, url, kind, lines, self._listed[kind], self._latest[kind])
                    group.create_task(watch.forever())


class _Watch:
    """LIST and WATCH of one kind, for ever."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        kind: str,
        lines: TextIO,
        listed: threading.Event,
        latest: dict[str, dict[str, Any]],
    ) -> None:
        self._session, self._url, self._kind, self._lines, self._listed = session, url, kind, lines, listed
        self._latest = latest
        self._version: str | None = None  # what is written so far; None when only a new list can tell

    async def forever(self) -> None:
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                    self._listed.set()
                done = await self._watch(self._version)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                done = False  # cut somewhere: go on behind the last whole event, nothing is missed or seen twice
            if not done:
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> str:
        """Write one snapshot and return its resourceVersion."""
        objects: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": str(PAGE_LIMIT)}
        while True:
            async with self._session.get(f"{self._url}?{urlencode(query)}", raise_for_status=True) as response:
                page = json.loads(await response.read())
            objects += page["items"]
            if not page["metadata"].get("continue"):
                self._write("LIST", objects=[_trimmed(item) for item in objects])
                present = {item["metadata"]["name"]: item for item in objects}
                for name in self._latest.keys() - present.keys():
                    del self._latest[name]
                self._latest.update(present)
                return str(page["metadata"]["resourceVersion"])
            query["continue"] = page["metadata"]["continue"]

    async def _watch(self, version: str) -> bool:
        """Write the changes after `version` until the server ends the watch; False when it did not go well."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._session.get(f"{self._url}?{urlencode(query)}") as response:
            if response.status != 200:
                self._version = None if response.status == 410 else version
                return False
            pending = b""
            async for chunk in response.content.iter_any():
                *whole, pending = (pending + chunk).split(b"\n")
                for line in whole:
                    if not self._take(json.loads(line)):
                        return False
        return True

    def _take(self, event: dict[str, Any]) -> bool:
        if event["type"] == "ERROR":  # 410 as a rule; a new list is right after any other error too
            self._version = None
            return False
        self._version = event["object"]["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self._write(event["type"], object=_trimmed(event["object"]))
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                self._latest.pop(name, None)
            else:
                self._latest[name] = event["object"]
        return True

    def _write(self, event: str, **what: Any) -> None:
        line = {"at": time.time(), "kind": self._kind, "type": event, **what}
        self._lines.write(json.dumps(line, separators=(",", ":")) + "\n")


def _trimmed(item: dict[str, Any]) -> dict[str, Any]:
    item.get("metadata", {}).pop("managedFields", None)
    return item
