"""Each rule of the CRD, told by a real API server: what it refuses, in which words, and the nearest thing it takes.

The rows stand in `refusals`, by subject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster import ClusterError
from tests.integration.chart.helm import ROOT
from tests.integration.chart.refusals import how_it_fails, what_it_runs, where_and_how_long_it_runs, where_it_saves
from tests.integration.chart.tasks import FROM_CHANGED, URI_CHANGED, task

pytestmark = pytest.mark.integration

URI = "spec__checkpoint__uri"
SUBJECTS = (where_it_saves, how_it_fails, where_and_how_long_it_runs, what_it_runs)
RULES = {name: row for subject in SUBJECTS for name, row in subject.RULES.items()}


@pytest.mark.parametrize(("bad", "message", "good"), RULES.values(), ids=RULES.keys())
def test_the_rule_refuses_its_offender_and_takes_its_neighbour(
    apply: Callable[..., str], bad: dict[str, Any], message: str, good: dict[str, Any]
) -> None:
    with pytest.raises(ClusterError) as refusal:
        apply(task(**bad), "--dry-run=server")
    for part in message.split(" ... "):
        assert part in str(refusal.value)
    apply(task(**good), "--dry-run=server")


def test_every_rule_with_a_message_of_our_own_is_tried_here() -> None:
    def messages(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (rule["message"] for rule in node.get("x-kubernetes-validations", []))
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                yield from messages(child)

    tried = [URI_CHANGED, FROM_CHANGED, *(message for _, message, _ in RULES.values())]
    crd = yaml.safe_load((ROOT / "manifests/crd.yaml").read_text())
    untried = {rule for rule in messages(crd) if not any(message in rule for message in tried)}
    assert not untried


def test_one_mistake_gives_one_message(apply: Callable[..., str]) -> None:
    with pytest.raises(ClusterError) as refusal:
        apply(task(**{URI: "s3://bucket/a?b"}), "--dry-run=server")
    assert str(refusal.value).count("spec.checkpoint") == 1, refusal.value
