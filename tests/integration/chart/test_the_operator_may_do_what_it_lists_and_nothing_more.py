"""RBAC as the API server sees it: the ServiceAccount's own rules, against the list in docs/operator.md.

Both directions count. A right that is missing shows only when it is needed, perhaps at 2 a.m.; a right too many
is found by whoever breaks into the operator. What an account without any binding may do anyway is taken off.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import ControlPlane
from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import RELEASE_NAMESPACE, ROOT, Helm
from tests.integration.chart.rights import Right, rights

pytestmark = pytest.mark.integration

SERVED = "served namespaces"
OWN = "the operator's own namespace"
CLUSTER = "the cluster"
"""The optional right, in a table without the column for where."""


def listed_rights(lease: str) -> dict[str, set[Right]]:
    """The table of docs/operator.md: rights by where they hold, for a release whose Lease has that name."""
    rights: dict[str, set[Right]] = {}
    for line in (ROOT / "docs/operator.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4:
            cells.insert(0, CLUSTER)
        if len(cells) != 5 or not cells[2].startswith("`"):
            continue
        where, group, resource, verbs, _ = cells
        name = lease if "only" in resource else ""
        [resource] = re.findall(r"^`([^`]+)`", resource)
        group = "" if group == "core" else group.strip("`")
        rights.setdefault(where, set()).update((group, resource, name, verb) for verb in verbs.split(", "))
    return rights


class Release:
    """The rights of one installed release's ServiceAccount, beyond those of an account that nobody bound."""

    def __init__(self, plane: ControlPlane, account: str, unbound: str) -> None:
        self._as_operator = self._kubectl(plane, account)
        self._as_nobody = self._kubectl(plane, unbound)

    @staticmethod
    def _kubectl(plane: ControlPlane, account: str) -> Kubectl:
        return Kubectl(plane.service_account_kubeconfig(RELEASE_NAMESPACE, account), plane.folder)

    def rights(self, namespace: str) -> set[Right]:
        return rights(self._as_operator, namespace) - rights(self._as_nobody, namespace)


@pytest.fixture
def install(plane: ControlPlane, kubectl: Kubectl, helm: Helm) -> Callable[[str, dict[str, Any]], Release]:
    def install(name: str, values: dict[str, Any]) -> Release:
        objects = helm.template({**values, "crds": {"install": False}}, release=name)
        kubectl.apply(*(item for item in objects if item["kind"] != "Deployment"))
        nobody = {"apiVersion": "v1", "kind": "ServiceAccount"}
        kubectl.apply({**nobody, "metadata": {"name": "nobody", "namespace": RELEASE_NAMESPACE}})
        return Release(plane, name, "nobody")

    return install


def test_the_list_is_read_as_it_is_meant() -> None:
    listed = listed_rights("x")
    assert set(listed) == {SERVED, OWN, CLUSTER}
    assert listed[CLUSTER] == {("", "nodes", "", "get")}
    assert ("", "pods", "", "create") in listed[SERVED]
    assert ("coordination.k8s.io", "leases", "x", "update") in listed[OWN]


def test_cluster_wide(install: Callable[..., Release], new_namespace: Callable[..., str]) -> None:
    release = install("waypost-all", {})
    listed = listed_rights("waypost-all")
    assert release.rights(new_namespace()) == listed[SERVED] | listed[CLUSTER]
    assert release.rights(RELEASE_NAMESPACE) == listed[SERVED] | listed[OWN] | listed[CLUSTER]


def test_in_some_namespaces(install: Callable[..., Release], new_namespace: Callable[..., str]) -> None:
    watched, other = new_namespace(), new_namespace()
    release = install("waypost-some", {"watch": {"namespaces": [watched]}, "rbac": {"nodes": False}})
    listed = listed_rights("waypost-some")
    assert release.rights(watched) == listed[SERVED]
    assert release.rights(other) == set()
    assert release.rights(RELEASE_NAMESPACE) == listed[OWN]


def test_without_leader_election_no_lease_may_be_touched(
    install: Callable[..., Release], new_namespace: Callable[..., str]
) -> None:
    release = install("waypost-one", {"leaderElection": {"enabled": False}, "rbac": {"nodes": False}})
    assert release.rights(RELEASE_NAMESPACE) == listed_rights("")[SERVED]


def test_without_roles_it_may_do_nothing(install: Callable[..., Release], new_namespace: Callable[..., str]) -> None:
    assert install("waypost-none", {"rbac": {"create": False}}).rights(new_namespace()) == set()


def test_no_secret_is_ever_within_reach() -> None:
    everything = set().union(*listed_rights("x").values())
    assert not {right for right in everything if right[1] in ("secrets", "*") or "*" in right}


def test_every_rule_has_its_reason_beside_it() -> None:
    for name in ("rbac.yaml", "rbac-users.yaml"):
        lines = (ROOT / "charts/waypost/templates" / name).read_text().splitlines()
        for above, line in itertools.pairwise(lines):
            assert not line.startswith("  - apiGroups:") or above.startswith("  # "), line
