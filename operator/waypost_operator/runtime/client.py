"""A thin asynchronous client of the API server: raw objects in, an `Answer` out.

It uses `kubernetes.aio` for what that does well (configuration, TLS, tokens and their refresh, the connection pool)
and leaves out its typed models: they reject fields that a newer API server knows, and the operator must hand a
user's pod template on as it is.

Each call ends in one of three ways, and the caller has to look which:

* `Accepted`: the API server did it; here is the object.
* `Refused`: it says no; here is its own message. A status of 500 or more may come after the deed all the same.
* `Unclear`: no answer (timeout, reset, garbage). It may have been done. Whoever asks must be able to ask again.

Nothing is retried here: the worker decides again from what it knows then. Every write asks `authority` first for how
long this process may still act as the leader, and never waits for an answer longer than that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from waypost import contract
from waypost_operator.model.raw import items
from waypost_operator.runtime.errors import ListError, NotLeadingError
from waypost_operator.runtime.objects import Key, Object, names, uid

REQUEST_SECONDS: Final = 10.0
LIST_SECONDS: Final = 60.0
PAGE_SIZE: Final = 500
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


@dataclass(frozen=True)
class Accepted:
    """The API server did what was asked."""

    object: Object


@dataclass(frozen=True)
class Refused:
    """The API server answered no."""

    status: int
    """The HTTP status, 400 or more."""
    message: str
    """The API server's own words."""
    reason: str = ""
    """Kubernetes' word for it: NotFound, AlreadyExists, Conflict, Forbidden, Invalid ..."""
    retry_after: float | None = None
    """Seconds that the API server asks to wait, if it does."""
    causes: tuple[str, ...] = ()
    """The reasons in `details.causes`: what tells a terminating namespace from any other 403."""

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.reason}: {self.message}"


@dataclass(frozen=True)
class Unclear:
    """No answer came; what was asked may or may not have been done."""

    cause: str

    def __str__(self) -> str:
        return f"no answer: {self.cause}"


Answer = Accepted | Refused | Unclear


class Authority(Protocol):
    """Who may write: the leader, or anybody where no leader is elected."""

    def seconds_left(self) -> float:
        """For how long nobody else can be leading; zero or less when that is not certain any more."""


class Unconditional:
    """The authority of an operator that runs alone (`--no-leader-election`)."""

    def seconds_left(self) -> float:
        """For ever."""
        return float("inf")


class Resource(NamedTuple):
    """A kind of objects on the API server."""

    prefix: str
    plural: str

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """The URL path of all of them, of those in a namespace, or of one."""
        parts = [self.prefix]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural] + [quote(part, safe="") for part in (name, sub) if part]
        return "/".join(parts)


TASKS: Final = Resource(f"/apis/{contract.API_VERSION}", contract.PLURAL)
PODS: Final = Resource("/api/v1", "pods")
NODES: Final = Resource("/api/v1", "nodes")
EVENTS: Final = Resource("/apis/events.k8s.io/v1", "events")
LEASES: Final = Resource("/apis/coordination.k8s.io/v1", "leases")
ACCESS_REVIEWS: Final = Resource("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    items: list[Object]
    version: str
    """resourceVersion of the snapshot that all pages of the list show."""


@dataclass(frozen=True)
class Client:
    """Calls to the API server; see the module."""

    api: ApiClient
    authority: Authority = field(default_factory=Unconditional)
    request_seconds: float = REQUEST_SECONDS

    async def get(self, resource: Resource, key: Key) -> Answer:
        """GET one object, from etcd, not from the API server's cache."""
        return await self._call("GET", resource.path(key.namespace, key.name))

    @property
    def server(self) -> str:
        """The API server's URL, for messages."""
        return str(self.api.configuration.host)

    async def list_one(self, resource: Resource, namespace: str = "") -> Answer:
        """LIST at most one object: is this kind served, and to us?"""
        return await self._call("GET", resource.path(namespace), {"limit": "1"})

    async def pages(self, resource: Resource, namespace: str = "", selector: str = "") -> AsyncIterator[Page]:
        """LIST in pages of one consistent snapshot; raises ListError when it can't be had whole."""
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": selector} if selector else {})
        path = resource.path(namespace)
        while True:
            answer = await self._call("GET", path, query, seconds=LIST_SECONDS)
            if not isinstance(answer, Accepted):
                raise ListError(f"LIST {path} failed: {answer}; the cache stays as it is, and it is tried again")
            metadata = answer.object.get("metadata") or {}
            yield Page(list(answer.object.get("items") or []), str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def create_pod(self, namespace: str, pod: Object) -> Answer:
        """POST a pod; a field that the API server does not know is refused (400) instead of dropped."""
        query = {"fieldManager": contract.FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._write("POST", PODS.path(namespace), query, pod)

    async def delete_pod(self, key: Key, identity: str) -> Answer:
        """DELETE the pod of that name if it has this UID (409 otherwise), with the grace that its spec asks for."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": identity}}
        return await self._write("DELETE", PODS.path(key.namespace, key.name), {}, options)

    async def put_status(self, task: Object, resource_version: str, status: Mapping[str, Any]) -> Answer:
        """PUT the task's status if the task is still at this resourceVersion; 409 when it has changed since.

        A PUT of names, UID, resourceVersion and status is the cheapest write that says 409 for "changed" and
        422 for "breaks the schema": a JSON patch with a test answers 422 to both, and a merge patch can't drop fields.
        """
        metadata = task["metadata"]
        body = {
            "apiVersion": contract.API_VERSION,
            "kind": contract.KIND,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": uid(task),
                "resourceVersion": resource_version,
            },
            "status": status,
        }
        path = TASKS.path(metadata["namespace"], metadata["name"], "status")
        return await self._write("PUT", path, {"fieldManager": contract.FIELD_MANAGER}, body)

    async def patch_finalizers(self, task: Object, resource_version: str, finalizers: Sequence[str]) -> Answer:
        """Merge-patch the task's finalizers if it is still at this resourceVersion; 409 when it has changed since.

        The list is replaced as a whole, so the precondition is what keeps other people's finalizers.
        """
        metadata = {"uid": uid(task), "resourceVersion": resource_version, "finalizers": list(finalizers)}
        key, query = names(task), {"fieldManager": contract.FIELD_MANAGER}
        path = TASKS.path(key.namespace, key.name)
        return await self._write("PATCH", path, query, {"metadata": metadata}, MERGE_PATCH)

    async def delete_task(self, key: Key, identity: str, resource_version: str) -> Answer:
        """DELETE the task if it has this UID and is still at this resourceVersion (409 otherwise).

        In the background: the garbage collector ends its pods, with their grace, after the task has gone.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": identity, "resourceVersion": resource_version},
            "propagationPolicy": "Background",
        }
        return await self._write("DELETE", TASKS.path(key.namespace, key.name), {}, options)

    async def create_event(self, event: Object) -> Answer:
        """POST an Event of events.k8s.io/v1."""
        return await self._write("POST", EVENTS.path(event["metadata"]["namespace"]), {}, event)

    async def patch_event(self, key: Key, change: Object) -> Answer:
        """Merge-patch an Event, to count a repetition."""
        return await self._write("PATCH", EVENTS.path(key.namespace, key.name), {}, change, MERGE_PATCH)

    async def create_lease(self, lease: Object, seconds: float) -> Answer:
        """POST the lease; needs no authority, since it is what gives it."""
        return await self._call("POST", LEASES.path(lease["metadata"]["namespace"]), {}, lease, seconds=seconds)

    async def put_lease(self, lease: Object, seconds: float) -> Answer:
        """PUT the lease; its resourceVersion decides between rivals (409)."""
        metadata = lease["metadata"]
        path = LEASES.path(metadata["namespace"], metadata["name"])
        return await self._call("PUT", path, {}, lease, seconds=seconds)

    async def get_lease(self, key: Key, seconds: float) -> Answer:
        """GET the lease within `seconds`."""
        return await self._call("GET", LEASES.path(key.namespace, key.name), seconds=seconds)

    async def review_access(self, attributes: Object) -> Answer:
        """Ask whether this account may do something; changes nothing."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return await self._call("POST", ACCESS_REVIEWS.path(), {}, body)

    async def _write(
        self, method: str, path: str, query: Mapping[str, str], body: Object, content: str = JSON
    ) -> Answer:
        left = self.authority.seconds_left()
        if left <= 0:
            raise NotLeadingError(f"{method} {path} was held back: this process does not hold the lease any more")
        return await self._call(method, path, query, body, content, min(left, self.request_seconds))

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = JSON,
        seconds: float | None = None,
    ) -> Answer:
        headers = {"Accept": JSON, "Content-Type": content}
        try:
            _, url, headers, _, _ = await self.api.param_serialize(
                method, path, header_params=headers, auth_settings=["BearerToken"]
            )
            response = await self.api.call_api(
                method,
                f"{url}?{urlencode(query)}" if query else url,
                headers,
                body,
                _request_timeout=aiohttp.ClientTimeout(total=seconds or self.request_seconds),
            )
            data: bytes = await response.response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Unclear(f"{method} {path}: {type(error).__name__} {error}".rstrip())
        return read_answer(response.status, response.headers, data)


def read_answer(status: int, headers: Mapping[str, str], data: bytes) -> Answer:
    """Sort an HTTP response into an `Answer`."""
    try:
        parsed = json.loads(data)
    except ValueError:
        parsed = None
    if 200 <= status < 300:
        if not isinstance(parsed, dict):
            return Unclear(f"HTTP {status} with a body that is no JSON object: {data[:200]!r}")
        return Accepted(parsed)
    if not isinstance(parsed, dict):
        parsed = {"message": data[:500].decode("utf-8", "replace")}
    return Refused(
        status=status,
        message=str(parsed.get("message") or ""),
        reason=str(parsed.get("reason") or ""),
        retry_after=_seconds(headers.get("Retry-After")),
        causes=tuple(str(cause.get("reason")) for cause in items(parsed, "details", "causes")),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
