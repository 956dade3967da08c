"""A value that the chart doesn't know, or of the wrong type, ends the install with its name; nothing is sent."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.integration.chart.helm import CHART, ROOT, Helm, HelmError

pytestmark = pytest.mark.integration

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"replica": 2}, "'replica' not allowed"),
    "an unknown key of a section": ({"image": {"tags": "1"}}, "'tags' not allowed"),
    "one namespace instead of a list": ({"watch": {"namespaces": "team-a"}}, "/watch/namespaces"),
    "a namespace that can't be one": ({"watch": {"namespaces": ["Team_A"]}}, "/watch/namespaces/0"),
    "a namespace twice": ({"watch": {"namespaces": ["a", "a"]}}, "/watch/namespaces"),
    "no replicas": ({"replicas": 0}, "/replicas"),
    "replicas as a word": ({"replicas": "two"}, "/replicas"),
    "two replicas that would both act": (
        {"replicas": 2, "leaderElection": {"enabled": False}},
        "/leaderElection/enabled",
    ),
    "the root user": ({"runAsUser": 0}, "/runAsUser"),
    "a pull policy that doesn't exist": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a digest without its algorithm": ({"image": {"digest": "a" * 64}}, "/image/digest"),
    "yes as a word": ({"crds": {"install": "yes"}}, "/crds/install"),
    "a log format that doesn't exist": ({"operator": {"logFormat": "xml"}}, "/operator/logFormat"),
    "no workers": ({"operator": {"workers": 0}}, "/operator/workers"),
    "an unknown kind of resources": ({"resources": {"limit": {"memory": "1Gi"}}}, "'limit' not allowed"),
    "variables as a map": ({"extraEnv": {"A": "b"}}, "/extraEnv"),
    "a pull secret as a word": ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
}


@pytest.mark.parametrize(("values", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_refused_by_name(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.template(values)
    assert message in str(refusal.value)


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of everything one can set; a map that Kubernetes defines is one value."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "resources":
            yield from paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def default_values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return values


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    def known(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for key, child in schema["properties"].items():
            if "properties" in child and key != "resources":
                yield from known(child, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(known(schema)) - {"global"} == set(paths(default_values()))


def test_every_value_is_explained_where_it_stands() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    top_level_explained = False
    for above, line in itertools.pairwise(lines):
        if not re.match(r" *[A-Za-z]+:", line):
            continue
        explained = above.lstrip().startswith("#")
        if not line.startswith(" "):
            top_level_explained = explained
        elif "resources" not in line and not explained:
            assert top_level_explained, f"nothing says what this is for: {line!r}"


def test_every_value_stands_in_the_install_guide() -> None:
    guide = (ROOT / "docs/install.md").read_text()
    missing = {path for path in paths(default_values()) if f"| `{path}` |" not in guide}
    assert not missing
