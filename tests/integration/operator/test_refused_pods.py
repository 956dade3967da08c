"""Pods that the API server will not have, or not yet: the user reads its own words, and nothing spins."""

from __future__ import annotations

import asyncio
import time

import pytest

from waypost import contract

from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Object, Stage

pytestmark = pytest.mark.integration


def template(**spec: object) -> Object:
    return {"spec": {"containers": [{"name": "main", "image": "program", "command": ["program"]}], **spec}}


async def test_a_template_that_can_never_work_waits_for_the_user_with_the_api_server_s_words(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    wrong = template(tolerations=[{"key": "spot", "operator": "Exist"}])
    await stage.apply("train", template=wrong)
    refused = await stage.condition("train", "PodCreated", "TemplateInvalid")
    assert refused["status"] == "False"
    assert "tolerations" in refused["message"]
    assert "Exist" in refused["message"]
    events = await stage.until("the user is told", lambda: stage.events("train"), lambda found: found)
    assert events[-1]["reason"] == "TemplateInvalid"
    right = template(tolerations=[{"key": "spot", "operator": "Exists"}])
    await stage.patch(contract.PLURAL, "train", {"spec": {"template": right}})
    await stage.pod("train-1")
    await stage.condition("train", "PodCreated", "Created")


async def test_a_misspelt_field_is_refused_instead_of_dropped(stage: Stage, operator: OperatorProcess) -> None:
    await stage.apply("train", template=template(nodeSelectors={"a": "b"}))
    refused = await stage.condition("train", "PodCreated", "TemplateInvalid")
    assert 'unknown field "spec.nodeSelectors"' in refused["message"]


async def test_a_missing_service_account_is_waited_for(stage: Stage, operator: OperatorProcess) -> None:
    await stage.apply("train", template=template(serviceAccountName="trainer"))
    refused = await stage.condition("train", "PodCreated", "PodCreateRefused")
    assert 'serviceaccount "trainer" not found' in refused["message"]
    account = {"metadata": {"name": "trainer"}}
    await stage.call("POST", stage.path("serviceaccounts"), account)
    await stage.pod("train-1", seconds=60)
    status = await stage.status("train", lambda status: status.get("podUID"), "pod recorded")
    assert status["counts"]["failures"] == 0, "a refused pod uses no budget"


async def test_a_full_quota_is_waited_for(stage: Stage, operator: OperatorProcess) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await stage.call("POST", stage.path("resourcequotas"), quota)
    await stage.until(
        "the quota is in force",
        lambda: stage.get("resourcequotas", "none"),
        lambda found: found is not None and found.get("status", {}).get("hard"),
    )
    await stage.apply("train")
    refused = await stage.condition("train", "PodCreated", "PodCreateRefused")
    assert "exceeded quota: none" in refused["message"]
    await stage.delete("resourcequotas", "none")
    await stage.pod("train-1", seconds=60)


async def test_a_refusal_that_lasts_is_one_event_and_a_few_requests(stage: Stage, operator: OperatorProcess) -> None:
    await stage.apply("train", template=template(serviceAccountName="trainer"))
    await stage.condition("train", "PodCreated", "PodCreateRefused")
    began = time.monotonic()
    await asyncio.to_thread(operator.wait_for_count, "CreatePod", 4)
    assert 6.5 < time.monotonic() - began < 15, "1 s, 2 s, 4 s apart"
    assert len(await stage.events("train")) == 1


async def test_a_pod_of_somebody_else_in_the_way_is_named_and_left_alone(
    stage: Stage, operator: OperatorProcess
) -> None:
    stranger = {"metadata": {"name": "train-1"}, **template()}
    created = await stage.call("POST", stage.path("pods"), stranger)
    await stage.apply("train")
    taken = await stage.condition("train", "Progressing", "PodNameTaken")
    assert "train-1" in taken["message"]
    there = await stage.get("pods", "train-1")
    assert there is not None
    assert there["metadata"]["uid"] == created["metadata"]["uid"]
    assert "deletionTimestamp" not in there["metadata"]
