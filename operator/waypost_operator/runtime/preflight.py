"""Asked before anything starts: is the API server there, does it know CheckpointedTasks, may we do what we must?

An operator that lacks a permission would otherwise look healthy and do nothing, or fail one task at a time. Here
it says at once which verb on which resource is missing. `PERMISSIONS` is the operator's whole RBAC; docs/operator.md
gives the reasons, and a test compares the two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from waypost import contract
from waypost_operator.runtime.client import TASKS, Accepted, Client, Refused, Unclear
from waypost_operator.runtime.errors import ConfigurationError
from waypost_operator.runtime.objects import Key

logger = logging.getLogger(__name__)

REACHABLE_WITHIN_SECONDS: Final = 60.0
PERMITTED_WITHIN_SECONDS: Final = 5.0
"""A role binding made a moment ago (by the same Helm install) takes effect within a second or two."""
RETRY_SECONDS: Final = 1.0


class Permission(NamedTuple):
    """One thing the operator must be allowed to do."""

    group: str
    resource: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"{self.verb} {self.resource}{named} (API group {self.group or 'core'!r})"


PERMISSIONS: Final = (
    *(Permission(contract.GROUP, contract.PLURAL, verb) for verb in ("get", "list", "watch", "patch", "delete")),
    Permission(contract.GROUP, f"{contract.PLURAL}/status", "update"),
    Permission(contract.GROUP, f"{contract.PLURAL}/finalizers", "update"),
    *(Permission("", "pods", verb) for verb in ("get", "list", "watch", "create", "delete")),
    *(Permission("events.k8s.io", "events", verb) for verb in ("create", "patch")),
)
"""In every served namespace."""

WISHES: Final = (Permission("", "nodes", "get"),)
"""In the cluster, and optional: without it the state of a node is no evidence about the end of a pod."""


def lease_permissions(name: str) -> tuple[Permission, ...]:
    """In the namespace of the lease, when a leader is elected."""
    group = "coordination.k8s.io"
    return Permission(group, "leases", "create"), *(
        Permission(group, "leases", verb, name) for verb in ("get", "update")
    )


async def check(client: Client, namespaces: Sequence[str], lease: Key | None) -> None:
    """Return when all is well; raises ConfigurationError, naming all that is missing, when it isn't in time."""
    served = tuple(namespaces) or ("",)
    for namespace in served:
        await _check_tasks_are_served(client, namespace)
    wanted = [(permission, namespace) for namespace in served for permission in PERMISSIONS]
    if lease is not None:
        wanted += [(permission, lease.namespace) for permission in lease_permissions(lease.name)]
    give_up = time.monotonic() + PERMITTED_WITHIN_SECONDS
    while missing := [f"{one} in {_where(place)}" for one, place in wanted if not await _may(client, one, place)]:
        if time.monotonic() > give_up:
            raise ConfigurationError(
                f"the operator's account lacks {len(missing)} permission(s): {'; '.join(missing)}. The chart's Roles "
                "grant them (rbac.create); docs/operator.md lists them all with their reasons"
            )
        logger.info("waiting for %d permission(s), %s among them", len(missing), missing[0])
        await asyncio.sleep(RETRY_SECONDS)
    for wish in WISHES:
        if not await _may(client, wish, ""):
            logger.info("not permitted: %s; the state of nodes is no evidence about the end of pods then", wish)


async def _check_tasks_are_served(client: Client, namespace: str) -> None:
    """LIST one task: tells an API server that is away from one without the CRD from one that denies us."""
    give_up = time.monotonic() + REACHABLE_WITHIN_SECONDS
    while True:
        answer = await client.list_one(TASKS, namespace)
        match answer:
            case Accepted():
                return
            case Refused(status=404):
                raise ConfigurationError(
                    f"the API server at {client.server} does not know {contract.PLURAL}.{contract.GROUP}: the "
                    f"CustomResourceDefinition is missing. Install it (the chart does with crds.install, or apply "
                    f"the one in manifests/), then start the operator again"
                )
            case Refused(status=403):
                return  # named with all the others by the access reviews
            case Refused() | Unclear():
                if time.monotonic() > give_up:
                    raise ConfigurationError(
                        f"the API server at {client.server} can't be used, tried for {REACHABLE_WITHIN_SECONDS:g} s: "
                        f"{answer}"
                    )
                logger.warning("the API server at %s can't be used yet: %s", client.server, answer)
                await asyncio.sleep(RETRY_SECONDS)


async def _may(client: Client, permission: Permission, namespace: str) -> bool:
    resource, _, sub = permission.resource.partition("/")
    attributes = {
        "group": permission.group,
        "resource": resource,
        "subresource": sub,
        "verb": permission.verb,
        "name": permission.name,
        "namespace": namespace,
    }
    answer = await client.review_access({key: value for key, value in attributes.items() if value})
    if not isinstance(answer, Accepted):
        logger.warning("can't ask the API server for the permission to %s, going on without: %s", permission, answer)
        return True
    return bool(answer.object.get("status", {}).get("allowed"))


def _where(namespace: str) -> str:
    return f"namespace {namespace!r}" if namespace else "all namespaces"
