"""The CustomResourceDefinition, generated from `model.spec` and `model.status`.

    python -m waypost_operator.model.crd        # prints the manifest

pydantic's JSON schema is not a structural schema: references are inlined, null is expressed by absence, titles go,
exclusive bounds become inclusive ones, and whatever the API server forbids (`additionalProperties: false`, a default
of null) never gets in. The result depends on nothing but the classes, so it can be compared byte for byte.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from waypost import contract
from waypost_operator.model.raw import Json
from waypost_operator.model.spec import TASK_RULES, TaskSpec, Typed
from waypost_operator.model.status import TaskStatus

PRINTER_COLUMNS = (
    ("State", "string", ".status.state", 0, "Pending, Running, BackingOff, Suspended, Deleting, Succeeded or Failed"),
    ("Attempt", "integer", ".status.attempt", 0, "Number of the current attempt"),
    ("Preemptions", "integer", ".status.counts.preemptions", 0, "Attempts that lost their machine"),
    ("Failures", "integer", ".status.counts.failures", 1, "Attempts that ended as a failure of the program"),
    ("Last Step", "integer", ".status.lastCheckpoint.step", 0, "Step of the last checkpoint known"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Since the task was created"),
    ("Message", "string", ".status.message", 1, "What is going on"),
)
"""name, type, path, priority (1: only with -o wide), description."""


def crd() -> Json:
    """The CustomResourceDefinition as a plain object, the same at every call."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{contract.PLURAL}.{contract.GROUP}"},
        "spec": {
            "group": contract.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": contract.KIND,
                "listKind": f"{contract.KIND}List",
                "plural": contract.PLURAL,
                "singular": contract.SINGULAR,
                "shortNames": [contract.SHORT_NAME],
                "categories": [contract.CATEGORY],
            },
            "versions": [
                {
                    "name": contract.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority, "description": text}
                        for name, kind, path, priority, text in PRINTER_COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": _task_schema()},
                }
            ],
        },
    }


def as_yaml() -> str:
    """The manifest as YAML text, keys in the order of `crd`."""
    return yaml.dump(crd(), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """Writes what two places share twice: people read this file, and diffs of anchors say nothing."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _task_schema() -> Json:
    return {
        "type": "object",
        "description": "A long task on machines that may be taken away: Waypost runs its pod, relaunches it after a "
        "preemption or a recoverable failure, and tells it where its checkpoints live.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "API version of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": structural_schema(TaskSpec),
            "status": _without_defaults(structural_schema(TaskStatus)),
        },
        **TASK_RULES,
    }


def structural_schema(model: type[Typed]) -> Json:
    """The structural OpenAPI v3 schema of a model, everything inlined."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def _structural(node: Json, definitions: Json) -> Json:
    node = _resolved(node, definitions)
    result: Json = {}
    for key, value in node.items():
        match key:
            case "title" | "$defs" | "examples":
                pass
            case "default" if value is None:
                pass
            case "default" if isinstance(value, dict):
                result[key] = {name: part for name, part in value.items() if part is not None}
            case "description":
                result[key] = " ".join(str(value).split())
            case "properties":
                result[key] = {name: _structural(child, definitions) for name, child in value.items()}
            case "items":
                result[key] = _structural(value, definitions)
            case "additionalProperties":
                if isinstance(value, dict):
                    result[key] = _structural(value, definitions)
            case "const":
                result["enum"] = [value]
            case "exclusiveMinimum":
                result["minimum"] = value + 1
            case "exclusiveMaximum":
                result["maximum"] = value - 1
            case _:
                result[key] = value
    if result.get("type") == "integer" and "format" not in result:
        result["format"] = "int32"
    return _ordered(result)


def _resolved(node: Json, definitions: Json) -> Json:
    """The node with its reference followed and its 'or null' dropped; what stands beside a reference overrides."""
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise TypeError(f"a structural schema has no place for a choice of types: {node}")
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved({**choices[0], **beside}, definitions)
    if "$ref" in node:
        target: Json = definitions[str(node["$ref"]).removeprefix("#/$defs/")]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _resolved({**target, **beside}, definitions)
    return node


def _without_defaults(node: Json) -> Json:
    """Status is written whole by one writer: a default the API server fills in would be a second one."""
    return {
        key: {name: _without_defaults(child) for name, child in value.items()}
        if key == "properties"
        else _without_defaults(value)
        if key == "items"
        else value
        for key, value in node.items()
        if key != "default"
    }


_ORDER = ("type", "format", "description", "default", "enum", "required")


def _ordered(node: Json) -> Json:
    first: dict[str, Any] = {key: node[key] for key in _ORDER if key in node}
    return first | {key: value for key, value in node.items() if key not in first}


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
