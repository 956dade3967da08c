"""Leader election by a Lease: at most one operator process acts, the others keep their caches warm.

The rules are those of client-go: a candidate takes the Lease when it is free, given back, or has not changed for
its whole duration by the candidate's OWN monotonic clock (clocks of two machines are never compared); the Lease's
resourceVersion decides between rivals. A leader counts its time from before it SENT the last successful renewal and
lays down its authority `duration - renew_deadline` seconds before anybody else could take over; no request of its
own lives longer than that (`Client` limits every write to `seconds_left()`).

`kubernetes.aio.leaderelection` (37.0.2) would be the library for it, and was not taken because a stalled API server,
the very case an election is for, breaks it: its requests wait five minutes, so a leader does not notice that its
lease ran out; it reads the wall clock, so a step of the clock makes two leaders; a reset connection raises through
its loop; it can't be asked whether it still leads; and it never gives the lease back, so each update of the operator
would cost the whole lease time.

The election saves work and keeps the log readable. What makes two actors harmless all the same are the names of
pods, the resourceVersion on each status write and the UID on each delete.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from waypost_operator.runtime.client import Accepted, Answer, Client, Refused
from waypost_operator.runtime.errors import LeadershipLostError
from waypost_operator.runtime.objects import Key, Object

logger = logging.getLogger(__name__)

DURATION_SECONDS: Final = 15
"""After this long without a renewal another candidate takes over."""
RENEW_DEADLINE_SECONDS: Final = 10.0
"""After this long without a renewal the leader stops acting by itself."""
RETRY_SECONDS: Final = 2.0
"""Between two renewals, and between two looks of a candidate."""


@dataclass
class _Seen:
    """The Lease as last seen by a candidate, and since when it looks like that."""

    version: str
    since: float


class Election:
    """One candidate for one Lease; is the `Authority` that `Client` asks before each write."""

    def __init__(
        self,
        client: Client,
        lease: Key,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lease = lease
        self._identity = identity
        self._clock = clock
        self._seen: _Seen | None = None
        self._held: Object | None = None
        self._renewed = float("-inf")

    def seconds_left(self) -> float:
        """For how long this process may act without another renewal; zero or less when it may not."""
        if self._held is None:
            return 0.0
        return self._renewed + RENEW_DEADLINE_SECONDS - self._clock()

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._try():
            await asyncio.sleep(RETRY_SECONDS)
        logger.info("leading: %s holds the lease %s", self._identity, self._lease)

    async def hold(self) -> None:
        """Renew the lease for as long as that works; raises LeadershipLostError when this process must stop."""
        while True:
            await asyncio.sleep(max(0.0, min(RETRY_SECONDS, self.seconds_left())))
            if await self._try():
                continue
            if self.seconds_left() <= 0:
                self._held = None
                raise LeadershipLostError(
                    f"the lease {self._lease} could not be renewed for {RENEW_DEADLINE_SECONDS:g} s, or somebody else "
                    f"holds it; this process stops, and whoever leads goes on from the tasks' status"
                )

    async def release(self) -> None:
        """Stop leading and give the lease back, so that the next candidate need not wait for its end."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        answer = await self._client.put_lease({**held, "spec": spec}, RETRY_SECONDS)
        if isinstance(answer, Accepted):
            logger.info("the lease %s is given back", self._lease)
        else:
            logger.warning("the lease %s was not given back, it ends by itself: %s", self._lease, answer)

    async def _try(self) -> bool:
        """Take or renew the lease; True if this process leads now."""
        began = self._clock()
        limit = RETRY_SECONDS if self._held is None else max(0.1, min(RETRY_SECONDS, self.seconds_left()))
        try:
            async with asyncio.timeout(2 * limit):
                answer = await self._take_or_renew(limit)
        except TimeoutError:
            return False
        if isinstance(answer, Accepted):
            self._held, self._renewed = answer.object, began
            return True
        return False

    async def _take_or_renew(self, limit: float) -> Answer | None:
        """Ask for the lease; None when it is somebody else's."""
        if self._held is not None:
            answer = await self._client.put_lease(self._claim(self._held), limit)
            if isinstance(answer, Accepted):
                return answer
            logger.warning("the lease %s was not renewed: %s", self._lease, answer)
        found = await self._client.get_lease(self._lease, limit)
        if isinstance(found, Refused) and found.status == 404:
            return await self._client.create_lease(self._claim(None), limit)
        if not isinstance(found, Accepted):
            logger.warning("the lease %s can't be read: %s", self._lease, found)
            return None
        lease = found.object
        if not self._is_free(lease):
            if self._held is not None:
                logger.error("the lease %s was taken by %s", self._lease, lease["spec"].get("holderIdentity"))
                self._held = None
            return None
        return await self._client.put_lease(self._claim(lease), limit)

    def _is_free(self, lease: Object) -> bool:
        """Whether nobody holds this lease, or we do, or its holder has been silent for its whole duration."""
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        version = str(lease["metadata"].get("resourceVersion"))
        if self._seen is None or self._seen.version != version:
            self._seen = _Seen(version, self._clock())
        return self._clock() - self._seen.since >= float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)

    def _claim(self, lease: Object | None) -> Object:
        """The lease as this process wants it, keeping the version it was read at."""
        before: dict[str, Any] = dict((lease or {}).get("spec") or {})
        spec = {**before, "holderIdentity": self._identity, "leaseDurationSeconds": DURATION_SECONDS}
        spec["renewTime"] = _now()
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = spec["renewTime"]
            spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + (1 if lease else 0)
        if lease is not None:
            return {**lease, "spec": spec}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._lease.name, "namespace": self._lease.namespace},
            "spec": spec,
        }


def _now() -> str:
    """The wall clock for human readers of the Lease, in its format; nothing is decided by it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
