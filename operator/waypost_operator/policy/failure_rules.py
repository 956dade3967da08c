"""Which of the user's rules (`failurePolicy.rules`) fits an end; of several the first in the list.

A rule on conditions or reasons looks at what ended the pod, a rule on exit codes at the program's own word. The two
are asked at different places of the order of judging (`classify`), since a program that was told to stop may exit
with any code: a rule on 143 must not turn an eviction into a failure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from waypost_operator.model.pod import Pod
from waypost_operator.model.spec import FailureRule, PodConditionPattern
from waypost_operator.policy import evidence


@dataclasses.dataclass(frozen=True)
class Match:
    """A rule that fits, and what it saw."""

    rule: FailureRule
    what: str


def on_the_pod(rules: Sequence[FailureRule], pod: Pod) -> Match | None:
    """The first rule on conditions or reasons that fits this pod."""
    for rule in rules:
        what = _condition(rule.on_conditions or (), pod) or _reason(rule.on_reasons or (), pod)
        if what:
            return Match(rule, what)
    return None


def on_the_exit_code(rules: Sequence[FailureRule], code: int | None) -> Match | None:
    """The first rule on exit codes that names this one."""
    found = (rule for rule in rules if rule.on_exit_codes and code in rule.on_exit_codes)
    return next((Match(rule, f"exit code {code}") for rule in found), None)


def _condition(patterns: Sequence[PodConditionPattern], pod: Pod) -> str:
    for found in pod.conditions:
        if any(_fits(pattern, found) for pattern in patterns) and evidence.speaks_of_the_end(pod, found):
            reason = f", {found['reason']}" if found.get("reason") else ""
            return f"condition {found.get('type')}={found.get('status')}{reason}"
    return ""


def _fits(pattern: PodConditionPattern, found: Mapping[str, Any]) -> bool:
    if (found.get("type"), found.get("status")) != (pattern.type, pattern.status):
        return False
    return pattern.reason is None or found.get("reason") == pattern.reason


def _reason(reasons: Sequence[str], pod: Pod) -> str:
    if pod.reason in reasons:
        return f"{pod.reason}: {pod.message}" if pod.message else pod.reason
    if pod.ended is not None and pod.ended.reason in reasons:
        return f"{pod.ended.reason}, exit code {pod.ended.exit_code}"
    return ""
