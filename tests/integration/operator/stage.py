"""A namespace on a real API server, as a user and a kubelet act on it: tasks applied, pods run, ended and evicted.

Requests go through the witnesses' own session (tests.witness.api), never through the operator's client. Every wait
is for a condition, with a deadline, and a deadline that passes shows what was there instead, and the operator's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.witness.api import Api
from waypost import contract

T = TypeVar("T")
Object = dict[str, Any]
TASKS = f"/apis/{contract.API_VERSION}"


class RefusedError(AssertionError):
    """The API server said no to a test; `status` is the HTTP status."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: HTTP {status}: {message}")
        self.status = status


class Stage:
    """One namespace and the requests of a test; `logs` are shown when a wait fails."""

    def __init__(self, session: aiohttp.ClientSession, server: str, namespace: str) -> None:
        self._session = session
        self._server = server
        self.namespace = namespace
        self.logs: list[Path] = []

    async def call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Object:
        """One request; raises RefusedError."""
        async with self._session.request(
            method, self._server + path, json=body, headers={"Content-Type": content}
        ) as response:
            answer: Object = await response.json(content_type=None)
            if response.status >= 400:
                raise RefusedError(f"{method} {path}", response.status, str(answer.get("message")))
            return answer

    def path(self, kind: str, name: str = "", sub: str = "") -> str:
        """URL path of objects of this namespace."""
        prefix = {contract.PLURAL: TASKS, "events": "/apis/events.k8s.io/v1"}.get(kind, "/api/v1")
        return "/".join(part for part in (f"{prefix}/namespaces/{self.namespace}/{kind}", name, sub) if part)

    async def get(self, kind: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        try:
            return await self.call("GET", self.path(kind, name))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    async def task(self, name: str) -> Object:
        """The task; it must exist."""
        return await self.call("GET", self.path(contract.PLURAL, name))

    async def pods(self) -> dict[str, Object]:
        """All pods, by name."""
        listed = await self.call("GET", self.path("pods"))
        return {pod["metadata"]["name"]: pod for pod in listed["items"]}

    async def events(self, name: str) -> list[Object]:
        """The Events about the object of that name, oldest first."""
        listed = await self.call("GET", self.path("events"))
        about = [event for event in listed["items"] if event["regarding"].get("name") == name]
        return sorted(about, key=lambda event: str(event.get("eventTime")))

    async def apply(self, name: str, **spec: Any) -> Object:
        """Create a task; `spec` is laid over a template with one container called `main`."""
        body = {
            "apiVersion": contract.API_VERSION,
            "kind": contract.KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "checkpoint": {"uri": "file:///checkpoints"},
                "template": {"spec": {"containers": [{"name": "main", "image": "program", "command": ["program"]}]}},
                **spec,
            },
        }
        return await self.call("POST", self.path(contract.PLURAL), body)

    async def patch(self, kind: str, name: str, change: Any, sub: str = "") -> Object:
        """Merge-patch an object."""
        return await self.call("PATCH", self.path(kind, name, sub), change, "application/merge-patch+json")

    async def delete(self, kind: str, name: str) -> Object:
        """Delete an object, its dependents in the background."""
        return await self.call("DELETE", self.path(kind, name), {"propagationPolicy": "Background"})

    async def until(
        self, what: str, probe: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 30.0
    ) -> T:
        """Ask again and again until it holds; the last answer is returned, or shown when time is up."""
        deadline = time.monotonic() + seconds
        while True:
            answer = await probe()
            if holds(answer):
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {answer}\n{self.tails()}")
            await asyncio.sleep(0.01)

    async def pod(self, name: str, seconds: float = 30.0, other_than: str = "") -> Object:
        """Wait for a pod of this name, of another UID than the one given."""
        found = await self.until(
            f"pod {name} exists",
            lambda: self.get("pods", name),
            lambda pod: pod is not None and pod["metadata"]["uid"] != other_than,
            seconds,
        )
        assert found is not None
        return found

    async def status(self, name: str, holds: Callable[[Object], object], what: str, seconds: float = 30.0) -> Object:
        """Wait until the task's status fulfils a condition, and return it."""
        task = await self.until(
            f"task {name}: {what}", lambda: self.task(name), lambda task: holds(task.get("status", {})), seconds
        )
        status: Object = task["status"]
        return status

    async def condition(self, name: str, kind: str, reason: str, seconds: float = 30.0) -> Object:
        """Wait until the task has this condition with this reason, and return it."""
        status = await self.status(
            name,
            lambda status: condition(status, kind).get("reason") == reason,
            f"condition {kind} with reason {reason}",
            seconds,
        )
        return condition(status, kind)

    def tails(self) -> str:
        """The ends of the operators' logs."""
        tails = []
        for log in self.logs:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:]
            tails.append("\n".join([f"--- the end of {log.name}", *lines]))
        return "\n".join(tails)


def condition(status: Object, kind: str) -> Object:
    """The condition of this type, or an empty one."""
    return next((entry for entry in status.get("conditions", []) if entry["type"] == kind), {})


@contextlib.asynccontextmanager
async def open_stage(kubeconfig: Path, namespace: str) -> AsyncIterator[Stage]:
    """A stage in a new namespace that has its default ServiceAccount; the namespace is left behind."""
    api = await Api.from_kubeconfig(kubeconfig)
    async with api.session() as session:
        stage = Stage(session, api.server, namespace)
        await stage.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await stage.until(
            "the default ServiceAccount", lambda: stage.get("serviceaccounts", "default"), lambda found: found, 60.0
        )
        yield stage
