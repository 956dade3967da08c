"""kopf, the transport: watches, re-authentication, the health endpoint. Nothing is decided here.

Only `on.event` handlers are used, each O(1): they hand the object on and return. kopf's stateful handlers would write
annotations and finalizers into users' objects; with these settings it writes nothing at all, anywhere: no peering
(it is no election: two equals pause each other), no Events, no progress and no diff base. Even its finalizer's name
is replaced, since kopf takes its marker off any object that carries it, also another operator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import kopf
from kubernetes.aio.client import Configuration

from waypost import contract
from waypost_operator.runtime.intake import Intake

PAGE_SIZE: Final = 500
UNUSED_FINALIZER: Final = f"{contract.GROUP}/never-set"


class NoDiffBase(kopf.DiffBaseStorage):
    """There is no 'last handled' state: decisions are made from what is observed, not from what changed."""

    def build(self, **_: Any) -> Any:
        """Nothing; also spares kopf's deep copy of each object at each event."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing was ever stored."""
        return None

    def store(self, **_: Any) -> None:
        """Refuse: it would write into a user's object."""
        raise AssertionError("kopf has no business writing a diff base")


class NoProgress(kopf.StatusProgressStorage):
    """Handlers keep no progress: `on.event` handlers have none."""

    def store(self, **_: Any) -> None:
        """Refuse: it would write into a user's object."""
        raise AssertionError("kopf has no business writing progress")

    def touch(self, **_: Any) -> None:
        """Refuse: it would write into a user's object."""
        raise AssertionError("kopf has no business touching objects")

    def clear(self, *, essence: Any) -> Any:
        """Nothing was ever stored."""
        return essence


def registry(
    intake: Intake, complaints: Callable[[], list[str]], connect: Callable[[], Awaitable[Configuration]]
) -> kopf.OperatorRegistry:
    """The handlers: two watches, the health check, and the way in."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.event(contract.GROUP, contract.VERSION, contract.PLURAL, registry=handlers)
    async def task_event(event: kopf.RawEvent, **_: Any) -> None:
        intake.task_event(event["type"], dict(event["object"]))

    @kopf.on.event("", "v1", "pods", registry=handlers)
    async def pod_event(event: kopf.RawEvent, **_: Any) -> None:
        intake.pod_event(event["type"], dict(event["object"]))

    @kopf.on.probe(id="healthy", registry=handlers)
    async def healthy(**_: Any) -> str:
        found = complaints()
        if found:
            raise kopf.PermanentError("; ".join(found))  # anything else is retried inside the request, which hangs
        return "yes"

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await credentials(await connect())

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf as a transport and nothing else; see the module."""
    chosen = kopf.OperatorSettings()
    chosen.watching.label_selectors["", "v1", "pods"] = contract.LABEL_TASK
    chosen.watching.chunk_size = PAGE_SIZE
    chosen.watching.connect_timeout = 10.0
    chosen.networking.request_timeout = 60.0
    chosen.networking.connect_timeout = 10.0
    chosen.networking.trust_env = True  # as our own client does
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.finalizer = UNUSED_FINALIZER
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.persistence.progress_storage = NoProgress()
    chosen.process.ultimate_exiting_timeout = None  # a process that hangs is ended by the kubelet
    chosen.queueing.exit_timeout = 0.5
    return chosen


async def credentials(source: Configuration) -> kopf.ConnectionInfo:
    """The same server and the same identity as our own client, in kopf's words."""
    header = await source.get_api_key_with_prefix("BearerToken") or ""
    return kopf.ConnectionInfo(
        server=str(source.host),
        ca_path=source.ssl_ca_cert,
        ca_data=source.ca_cert_data,
        insecure=not source.verify_ssl,
        username=source.username or None,
        password=source.password or None,
        scheme="Bearer" if header else None,
        token=header.split(" ", 1)[-1].strip() or None,
        certificate_path=source.cert_file,
        private_key_path=source.key_file,
        proxy_url=source.proxy,
        trust_env=True,
    )


async def serve(
    handlers: kopf.OperatorRegistry,
    namespaces: Sequence[str],
    liveness_port: int,
    stop: asyncio.Event,
    started: Callable[[], None],
) -> None:
    """Run the watches until `stop` is set; `started` is called once kopf has taken the process's signals."""
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=handlers,
        settings=settings(),
        # Else kopf asks for the user's name, which a container's uid need not have. (The type's name is private.)
        identity=contract.FIELD_MANAGER,  # type: ignore[arg-type]
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        liveness_endpoint=f"http://0.0.0.0:{liveness_port}/healthz" if liveness_port else None,
        stop_flag=stop,
    )
    started()
    await kopf.run_tasks(tasks, ignored=others)
