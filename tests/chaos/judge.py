"""Does the status say what the test did? Attempt by attempt, by witnesses that know nothing of the operator.

The test writes down each deed it did to a pod; the ledger, which the program writes without the SDK, says how the
program itself ended. From both follows which outcomes an attempt may have, as a set: a pod that was evicted while it
was about to exit may be either. What the operator could not know, because it was dead while the pod came to its end
and went, it may call Unknown; those are listed apart. So are attempts that found their store out of reach on a machine
with too much to do, by the exit code 74 that the recorder saw: no deed of the test, and no step of the program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.witness.ledger import Run, Verdict
from waypost import contract
from waypost.contract import Outcome

Json = dict[str, Any]

BY_DEED: Mapping[str, frozenset[str]] = {
    "evict": frozenset({Outcome.PREEMPTED}),
    "delete": frozenset({Outcome.DELETED}),
    # Gone at once, whatever it was doing; if that was before its UID was recorded, a second pod of that number ran.
    "force": frozenset({Outcome.UNKNOWN, Outcome.REFUSED}),
}
BY_ENDING: Mapping[str, str] = {"exit:75": Outcome.RECOVERABLE, "exit:1": Outcome.FAILED}
TOTALS: Mapping[str, frozenset[str]] = {
    "preemptions": frozenset({Outcome.PREEMPTED}),
    "failures": frozenset({Outcome.FAILED}),
}


@dataclass
class Judgement:
    """What was found about one task; `complaints` are sentences, `apart` the attempts whose end no deed explains."""

    outcomes: Counter[str] = field(default_factory=Counter)
    apart: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def allowed(deeds: Iterable[str], runs: Iterable[Run], *, finished_before: bool) -> frozenset[str]:
    """The outcomes that an attempt may have; `finished_before`: an earlier attempt ran to the end already."""
    outcomes: set[str] = set()
    for run in runs:
        if run.finished:
            return frozenset({Outcome.COMPLETED})
        if run.ending:
            outcomes.add(BY_ENDING[run.ending])
    for deed in deeds:
        outcomes |= BY_DEED[deed]
    if finished_before:
        outcomes.add(Outcome.COMPLETED)
    return frozenset(outcomes)


def judge(
    name: str,
    status: Json,
    deeds: Mapping[str, list[str]],
    runs: Iterable[Run],
    exit_codes: Mapping[str, int | None] = MappingProxyType({}),
) -> Judgement:
    """Hold a finished task's status against the deeds done to its pods and against its ledger.

    `deeds` and the recorded `exit_codes` are by pod name.
    """
    found, ran = Judgement(), list(runs)
    attempts = status.get("attempts", [])
    for one in attempts:
        number, outcome = one["attempt"], one.get("outcome")
        mine = [run for run in ran if run.attempt == number]
        done = deeds.get(contract.pod_name(name, number), [])
        finished_before = any(run.finished for run in ran if run.attempt < number)
        possible = allowed(done, mine, finished_before=finished_before)
        found.outcomes[str(outcome)] += 1
        if outcome in possible:
            continue
        if outcome == Outcome.UNKNOWN and possible:
            found.apart.append(f"{name}-{number}: {', '.join(done) or 'ended by itself'}")
            continue
        code = exit_codes.get(contract.pod_name(name, number))
        if outcome == Outcome.STORAGE_UNAVAILABLE and code == contract.EXIT_STORAGE and not any(r.ending for r in mine):
            found.apart.append(f"{name}-{number}: its store was out of reach")
            continue
        found.complaints.append(
            f"attempt {number} of {name} is called {outcome} by rule {one.get('rule')} ({one.get('evidence')}), "
            f"but it was: {', '.join(done) or 'left alone'}; it ended by itself: {[run.ending for run in mine]}"
        )
    found.complaints += _counts(name, status, attempts)
    return found


def about_the_ledger(name: str, told: Verdict, deeds: Mapping[str, list[str]]) -> list[str]:
    """What the ledger complains about. A pod deleted by force is gone from the API while its program may run on for a
    moment: that it still did a step is what was asked for (what it can't do any more is to save)."""
    forced = [run.attempt for run in told.runs if "force" in deeds.get(contract.pod_name(name, run.attempt), [])]
    expected = tuple(f"attempt {attempt} still did" for attempt in forced)
    return [one for one in told.complaints if not (one in told.overtaken and one.startswith(expected))]


def _counts(name: str, status: Json, attempts: list[Json]) -> Iterable[str]:
    counts = status.get("counts", {})
    if counts.get("attempts", 0) != len(attempts):
        yield f"{name}: {counts.get('attempts', 0)} attempts are counted, {len(attempts)} are in the history"
    for total, outcomes in TOTALS.items():
        seen = sum(
            one.get("outcome") in outcomes
            or (total == "failures" and one.get("outcome") == Outcome.RECOVERABLE and not one.get("progressed"))
            for one in attempts
        )
        if counts.get(total, 0) != seen:
            yield f"{name}: {counts.get(total, 0)} {total} are counted, {seen} happened"
