"""The CRD is generated, deterministic, structural, and bounded everywhere; the real API server judges it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from waypost_operator.model.crd import as_yaml, crd
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import TaskSpec
from waypost_operator.model.status import Attempt, Condition, TaskStatus

FORBIDDEN = {
    "$ref",
    "$defs",
    "definitions",
    "title",
    "patternProperties",
    "uniqueItems",
    "deprecated",
    "const",
    "anyOf",
}


def schema() -> Json:
    found: Json = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema node with its path; the top's own metadata is the API server's business."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        if (path, name) != ("", "metadata"):
            yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def test_every_generation_gives_the_same_text_and_it_reads_back_as_the_same_object() -> None:
    assert as_yaml() == as_yaml()
    assert yaml.safe_load(as_yaml()) == json.loads(json.dumps(crd()))


def test_nothing_that_a_structural_schema_forbids_gets_in() -> None:
    for path, node in nodes(schema()):
        assert not FORBIDDEN & set(node), path
        assert "type" in node, f"{path} has no type"
        assert node.get("additionalProperties") is not False, path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert "default" not in node or node["default"] is not None, path


def test_every_string_list_and_number_is_bounded() -> None:
    for path, node in nodes(schema()):
        if path in (".apiVersion", ".kind"):
            continue
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, f"{path} has no maxLength"
        if node["type"] == "array":
            assert "maxItems" in node, f"{path} has no maxItems"
        if node["type"] == "integer":
            assert "minimum" in node, f"{path} has no minimum"
            assert "maximum" in node or node["format"] == "int64", f"{path} has no maximum"
        if "additionalProperties" in node:
            assert "maxProperties" in node, f"{path} has no maxProperties"


def test_everything_is_explained() -> None:
    for path, node in nodes(schema()):
        if path and not path.endswith(("[]", "{}")):
            assert node.get("description"), f"kubectl explain has nothing to say about {path}"


def test_every_rule_in_cel_says_what_its_offender_did() -> None:
    rules = [rule for _, node in nodes(schema()) for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) == 19
    for rule in rules:
        assert len(rule["message"]) > 20, rule


def test_defaults_are_visible_in_the_stored_object() -> None:
    spec = schema()["properties"]["spec"]["properties"]
    assert spec["failurePolicy"]["default"] == {
        "maxFailures": 3,
        "recoverableExitCodes": [],
        "rules": [],
        "backoff": {"initialSeconds": 10, "maxSeconds": 600},
    }
    assert spec["checkpoint"]["properties"]["retention"]["default"] == {"keepLast": 3}
    assert spec["template"]["properties"]["spec"]["properties"]["restartPolicy"]["default"] == "Never"


def test_status_has_no_defaults_since_one_writer_writes_it_whole() -> None:
    assert not [path for path, node in nodes(schema()["properties"]["status"]) if "default" in node]


def test_what_the_operator_writes_is_what_the_schema_knows() -> None:
    """A field outside the schema would be pruned silently, and the operator's memory with it."""
    entry = Attempt(attempt=1, pod="p", node="n", started="s", finished="f", evidence="e", exit_code=1, progressed=True)
    condition = Condition(
        type="Succeeded", status="True", reason="r", message="m", last_transition_time="t", observed_generation=1
    )
    written = TaskStatus(attempt=1, pod_uid="u", state="Running", attempts=[entry], conditions=[condition]).write()

    def known(value: object, node: Json, path: str) -> None:
        if isinstance(value, dict):
            for name, child in value.items():
                assert name in node["properties"], f"{path}.{name}"
                known(child, node["properties"][name], f"{path}.{name}")
        if isinstance(value, list):
            for child in value:
                known(child, node["items"], f"{path}[]")

    known(written, schema()["properties"]["status"], "status")
    assert TaskStatus.read(written).write() == written


def test_unknown_fields_of_the_template_are_kept() -> None:
    spec = schema()["properties"]["spec"]["properties"]["template"]
    for node in (spec, spec["properties"]["spec"], spec["properties"]["spec"]["properties"]["containers"]["items"]):
        assert node["x-kubernetes-preserve-unknown-fields"] is True


def test_a_spec_of_a_newer_version_is_read_without_complaint() -> None:
    spec = {
        "checkpoint": {"uri": "s3://b/p", "retention": {"keepLast": 3}},
        "suspend": True,
        "template": {"spec": {"containers": [{"name": "main"}]}},
    }
    assert TaskSpec.model_validate(spec).failure_policy.max_failures == 3
