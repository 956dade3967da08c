"""From machines that can be taken away to machines on demand: when, with what, and never back."""

from __future__ import annotations

import copy

import pytest

from tests.unit.operator.story import Story, document
from tests.unit.operator.tasks import task
from waypost.contract import ConditionReason, Outcome, Placement
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import PreemptionPolicy
from waypost_operator.model.status import Attempt, Counts, TaskStatus
from waypost_operator.policy import placement
from waypost_operator.specs.pod import build

SPOT = {"nodeSelector": {"cloud.google.com/gke-spot": "true", "disk": "ssd"}, "priorityClassName": "spot"}
OVERLAY = {"nodeSelector": {"cloud.google.com/gke-provisioning": "standard"}}


def spot_task(template: Json | None = None, **policy: object) -> Json:
    spec = {"containers": [{"name": "main", "image": "i"}], **copy.deepcopy(SPOT), **(template or {})}
    return task(template={"spec": spec}, preemptionPolicy=policy)


def preempt(story: Story, attempt: int) -> None:
    """The attempt makes progress and loses its machine; the next one starts at once."""
    name = story.running(attempt)
    story.world.disrupt(name)
    story.world.exit(name, 143, document(attempt, step=attempt))
    story.world.remove(name)
    story.settle()


def selector(story: Story, attempt: int) -> Json:
    found: Json = story.world.pods[f"train-{attempt}"]["spec"].get("nodeSelector", {})
    return found


def test_after_so_many_preemptions_the_next_attempt_runs_on_demand_and_so_do_all_that_follow() -> None:
    story = Story(spot_task(onDemandAfter=2, onDemand=OVERLAY))
    for attempt in (1, 2):
        story.settle()
        assert selector(story, attempt) == SPOT["nodeSelector"]
        preempt(story, attempt)
    assert "on demand from now on, after 2 preemptions (onDemandAfter: 2)" in story.said_in_all()
    for attempt in (3, 4):
        assert selector(story, attempt) == OVERLAY["nodeSelector"]
        story.world.exit(story.running(attempt), 75, document(attempt, step=10 + attempt))
        story.settle()
    assert [entry.get("placement") for entry in story.status["attempts"]] == [
        Placement.TEMPLATE, Placement.TEMPLATE, Placement.ON_DEMAND, Placement.ON_DEMAND, Placement.ON_DEMAND
    ]  # fmt: skip
    assert story.said_in_all().count("on demand from now on") == 1


def test_failures_and_relaunches_are_no_reason_to_leave_spot_machines() -> None:
    story = Story(spot_task(onDemandAfter=1, onDemand=OVERLAY))
    for attempt in (1, 2, 3):
        story.world.exit(story.running(attempt), 75, document(attempt, step=attempt))
        story.settle()
    assert selector(story, 4) == SPOT["nodeSelector"]


def test_a_pod_whose_create_got_lost_is_made_again_in_the_same_place_though_the_policy_changed() -> None:
    story = Story(spot_task(onDemandAfter=1, onDemand=OVERLAY))
    preempt(story, 1)
    story.world.remove("train-2")
    story.world.task["status"].pop("podUID")  # type: ignore[index]
    story.world.edit_spec(preemptionPolicy={"onDemandAfter": 9, "onDemand": OVERLAY})
    story.restart()
    story.settle()
    assert selector(story, 2) == OVERLAY["nodeSelector"]


def test_more_preemptions_than_allowed_end_the_task_with_the_reason() -> None:
    story = Story(spot_task(maxPreemptions=2))
    for attempt in (1, 2, 3):
        preempt(story, attempt)
    verdict = story.condition("Succeeded")
    assert (verdict["status"], verdict["reason"]) == ("False", ConditionReason.PREEMPTIONS_EXCEEDED)
    assert "3 preemptions (maxPreemptions: 2)" in verdict["message"]
    assert len(story.world.created) == 3


def test_no_number_of_preemptions_ends_a_task_without_a_limit() -> None:
    story = Story(spot_task())
    for attempt in range(1, 30):
        preempt(story, attempt)
    assert story.status["attempt"] == 30


@pytest.mark.parametrize(
    ("overlay", "changed"),
    [
        ({"nodeSelector": {"pool": "standard"}}, {"nodeSelector": {"pool": "standard"}}),
        ({"nodeSelector": {}}, {"nodeSelector": {}}),
        ({"priorityClassName": "high"}, {"priorityClassName": "high"}),
        ({"affinity": {"nodeAffinity": {}}}, {"affinity": {"nodeAffinity": {}}}),
    ],
)
def test_a_field_given_replaces_the_whole_field_of_the_template_and_no_other(overlay: Json, changed: Json) -> None:
    body = spot_task({"affinity": {"podAffinity": {}}}, onDemand=overlay)
    before, after = build(body, 3)["spec"], build(body, 3, on_demand=True)["spec"]
    assert after == before | changed


def test_tolerations_on_demand_replace_the_template_s_and_still_bear_a_lost_node_for_half_a_minute() -> None:
    body = spot_task({"tolerations": [{"key": "spot"}]}, onDemand={"tolerations": [{"key": "gpu"}]})
    keys = [toleration["key"] for toleration in build(body, 3, on_demand=True)["spec"]["tolerations"]]
    assert keys == ["gpu", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]


def test_the_template_is_left_as_it_is_while_on_demand_is_not_due() -> None:
    body = spot_task(onDemandAfter=5, onDemand=OVERLAY)
    assert build(body, 3)["spec"]["nodeSelector"] == SPOT["nodeSelector"]


@pytest.mark.parametrize(
    ("labels", "spot"),
    [
        ({"karpenter.sh/capacity-type": "spot"}, True),
        ({"karpenter.sh/capacity-type": "on-demand"}, False),
        ({"karpenter.sh/capacity-type": "reserved"}, False),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, True),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND"}, False),
        ({"cloud.google.com/gke-spot": "true"}, True),
        ({"cloud.google.com/gke-preemptible": "true"}, True),
        ({"cloud.google.com/gke-provisioning": "spot"}, True),
        ({"cloud.google.com/gke-provisioning": "standard"}, False),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, True),
        ({"cloud.google.com/gke-spot": "true", "karpenter.sh/capacity-type": "on-demand"}, True),
        ({"kubernetes.io/arch": "amd64"}, None),
        ({}, None),
    ],
)
def test_an_attempt_tells_whether_its_node_was_a_spot_machine(labels: dict[str, str], spot: bool | None) -> None:
    story = Story()
    story.world.node_labels["node-1"] = labels
    name = story.running()
    assert story.last.get("spot") is spot
    story.world.exit(name, 75, document(1, step=1))
    story.settle()
    assert story.attempt(1).get("spot") is spot


def test_a_machine_that_is_lost_before_its_program_could_start_was_a_spot_machine_all_the_same() -> None:
    story = Story()
    story.settle()
    story.world.node_labels["node-1"] = {"karpenter.sh/capacity-type": "spot"}
    story.world.bind("train-1", "node-1")
    story.settle()
    del story.world.nodes["node-1"]
    story.world.remove("train-1")
    story.settle()
    ended = story.attempt(1)
    assert (ended["outcome"], ended["spot"], ended["node"]) == (Outcome.PREEMPTED, True, "node-1")


def test_an_operator_that_may_not_read_nodes_asks_once_and_goes_on() -> None:
    story = Story()
    story.world.nodes["node-1"] = "forbidden"
    name = story.running()
    assert "spot" not in story.last
    story.world.exit(name, 0)
    story.settle()
    assert story.steps().count("LookAtNode") == 1
    assert story.status["state"] == "Succeeded"


@pytest.mark.parametrize(
    ("policy", "preemptions", "last", "leave", "chosen"),
    [
        ({}, 99, Placement.TEMPLATE, "no node", Placement.TEMPLATE),
        ({"onDemandAfter": 3, "onDemand": OVERLAY}, 2, Placement.TEMPLATE, "", Placement.TEMPLATE),
        ({"onDemandAfter": 3, "onDemand": OVERLAY}, 3, Placement.TEMPLATE, "", Placement.ON_DEMAND),
        ({"onDemandAfter": 9, "onDemand": OVERLAY}, 3, Placement.ON_DEMAND, "", Placement.ON_DEMAND),
        ({"onDemand": OVERLAY}, 99, Placement.TEMPLATE, "", Placement.TEMPLATE),
        ({"onDemand": OVERLAY}, 0, Placement.TEMPLATE, "no node for 300 s", Placement.ON_DEMAND),
        ({"onDemand": OVERLAY}, 0, None, "", Placement.TEMPLATE),
        ({}, 99, Placement.ON_DEMAND, "", Placement.TEMPLATE),
    ],
)
def test_the_choice(policy: Json, preemptions: int, last: Placement | None, leave: str, chosen: Placement) -> None:
    status = TaskStatus(attempts=[Attempt(attempt=4, placement=last)], counts=Counts(preemptions=preemptions))
    choice = placement.choose(PreemptionPolicy.model_validate(policy), status, leave_template=leave)
    assert choice.placement is chosen
    assert bool(choice.why) is (chosen is Placement.ON_DEMAND and last is not Placement.ON_DEMAND)
