"""At most one process leads, a leader that is cut off stops by itself, and a free lease is taken at once.

The lease lies in a store with the API server's optimistic locking; time is virtual, and each candidate's connection
can be cut.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import pytest

from waypost_operator.runtime.client import Accepted, Answer, Client, Refused, Unclear
from waypost_operator.runtime.errors import LeadershipLostError
from waypost_operator.runtime.leader import DURATION_SECONDS, RENEW_DEADLINE_SECONDS, RETRY_SECONDS, Election
from waypost_operator.runtime.objects import Key

from .virtual_time import now, run

LEASE = Key("system", "waypost-operator")


class LeaseStore:
    """One lease, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def write(self, lease: dict[str, Any], create: bool) -> Answer:
        stored = None if self.lease is None else self.lease["metadata"]["resourceVersion"]
        if create != (self.lease is None) or (not create and lease["metadata"]["resourceVersion"] != stored):
            return Refused(409, "the object has been modified", "Conflict")
        self.version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return Accepted(copy.deepcopy(self.lease))


class Connection:
    """What `Election` uses of `Client`, to a store; `cut` makes every request hang until its own limit."""

    def __init__(self, store: LeaseStore) -> None:
        self.store = store
        self.cut = False
        self.loses_replies = False

    async def _reach(self, seconds: float) -> Unclear | None:
        if not self.cut:
            return None
        await asyncio.sleep(seconds)
        return Unclear("timed out")

    async def get_lease(self, key: Key, seconds: float) -> Answer:
        if lost := await self._reach(seconds):
            return lost
        if self.store.lease is None:
            return Refused(404, "not found", "NotFound")
        return Accepted(copy.deepcopy(self.store.lease))

    async def create_lease(self, lease: dict[str, Any], seconds: float) -> Answer:
        return await self._reach(seconds) or self.store.write(lease, create=True)

    async def put_lease(self, lease: dict[str, Any], seconds: float) -> Answer:
        if lost := await self._reach(seconds):
            return lost
        answer = self.store.write(lease, create=False)
        return Unclear("reply lost") if self.loses_replies else answer


def candidate(store: LeaseStore, name: str) -> tuple[Election, Connection]:
    connection = Connection(store)
    return Election(cast(Client, connection), LEASE, name, clock=now), connection


async def leads_until_lost(election: Election) -> None:
    await election.acquire()
    await election.hold()


def test_the_first_candidate_leads_at_once_and_a_second_one_waits() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, _ = candidate(store, "first")
        second, _ = candidate(store, "second")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(10 * DURATION_SECONDS)
        assert first.seconds_left() > 0
        assert second.seconds_left() <= 0
        assert not waiting.done()
        assert not holding.done()

    run(scenario())


def test_a_leader_that_is_cut_off_stops_before_anybody_else_can_lead() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, connection = candidate(store, "first")
        second, _ = candidate(store, "second")
        leading = asyncio.create_task(leads_until_lost(first))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(60)
        connection.cut = True
        began = now()
        while first.seconds_left() > 0:
            assert second.seconds_left() <= 0
            await asyncio.sleep(0.1)
        stopped = now() - began
        await waiting
        taken = now() - began
        assert stopped <= RENEW_DEADLINE_SECONDS + 0.1
        assert taken - stopped >= DURATION_SECONDS - RENEW_DEADLINE_SECONDS - RETRY_SECONDS
        assert taken <= DURATION_SECONDS + 2 * RETRY_SECONDS
        with pytest.raises(LeadershipLostError):
            await leading

    run(scenario())


def test_a_lease_given_back_is_taken_with_the_next_look() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, _ = candidate(store, "first")
        second, _ = candidate(store, "second")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(5)
        await first.release()
        assert first.seconds_left() <= 0
        began = now()
        await waiting
        assert now() - began <= RETRY_SECONDS + 0.1

    run(scenario())


def test_a_renewal_whose_reply_was_lost_does_not_cost_the_lead() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, connection = candidate(store, "first")
        leading = asyncio.create_task(leads_until_lost(first))
        await asyncio.sleep(5)
        connection.loses_replies = True
        await asyncio.sleep(RENEW_DEADLINE_SECONDS / 2)
        connection.loses_replies = False
        await asyncio.sleep(2 * DURATION_SECONDS)
        assert not leading.done()
        assert first.seconds_left() > 0

    run(scenario())


def test_a_leader_that_slept_through_its_lease_does_not_act_on_waking() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, _ = candidate(store, "first")
        second, _ = candidate(store, "second")
        await first.acquire()  # and is stopped here: no renewal runs
        await second.acquire()
        assert first.seconds_left() <= 0
        with pytest.raises(LeadershipLostError):
            await first.hold()
        assert second.seconds_left() > 0

    run(scenario())


def test_a_candidate_does_not_believe_the_time_that_another_machine_wrote() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        first, _ = candidate(store, "first")
        await first.acquire()
        assert store.lease is not None
        store.lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
        second, _ = candidate(store, "second")
        began = now()
        await second.acquire()
        assert now() - began >= DURATION_SECONDS

    run(scenario())


def test_many_candidates_never_lead_together() -> None:
    async def scenario() -> None:
        store = LeaseStore()
        candidates = [candidate(store, f"candidate-{number}") for number in range(5)]
        tasks = [asyncio.create_task(leads_until_lost(election)) for election, _ in candidates]
        for step in range(3000):
            leading = [number for number, (election, _) in enumerate(candidates) if election.seconds_left() > 0]
            assert len(leading) <= 1, leading
            if step % 200 == 199 and leading:
                candidates[leading[0]][1].cut = True
            if step % 200 == 100:
                for number, (election, connection) in enumerate(candidates):
                    connection.cut = False
                    if tasks[number].done():
                        assert isinstance(tasks[number].exception(), LeadershipLostError)
                        tasks[number] = asyncio.create_task(leads_until_lost(election))
            await asyncio.sleep(0.2)
        assert store.lease is not None
        assert store.lease["spec"]["leaseTransitions"] >= 3

    run(scenario())
