"""Kubernetes' own roles view, edit and admin come to include tasks, through the real aggregation controller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.cluster import ClusterError, ControlPlane
from tests.cluster.waiting import wait_for
from tests.integration.chart.helm import Helm
from tests.integration.chart.rights import rights

pytestmark = pytest.mark.integration

SEE = {(kind, verb) for kind in ("checkpointedtasks", "checkpointedtasks/status") for verb in ("get", "list", "watch")}
CHANGE = {("checkpointedtasks", verb) for verb in ("create", "update", "patch", "delete", "deletecollection")}
EXPECTED = {"view": SEE, "edit": SEE | CHANGE, "admin": SEE | CHANGE}


@pytest.fixture(scope="module")
def users() -> Iterator[ControlPlane]:
    """An API server with one user for each of Kubernetes' roles in namespace default."""
    controllers = ("clusterrole-aggregation-controller", "serviceaccount-controller")
    with ControlPlane.start(controller_manager=True, controllers=controllers) as plane:
        for role in EXPECTED:
            plane.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user=user-{role}")
        yield plane


def rights_on_tasks(users: ControlPlane) -> dict[str, set[tuple[str, str]]]:
    return {
        role: {
            (resource, verb)
            for group, resource, _, verb in rights(users.kubectl, "default", f"--as=user-{role}")
            if group == "waypost.dev"
        }
        for role in EXPECTED
    }


def test_viewers_see_editors_change_and_nobody_writes_the_status(users: ControlPlane, helm: Helm) -> None:
    roles = [item for item in helm.template() if item["metadata"]["name"] in ("waypost-view", "waypost-edit")]
    assert rights_on_tasks(users) == {role: set() for role in EXPECTED}
    users.kubectl.apply(*roles)
    # Roles are aggregated one after the other, so waiting for a part of them could see the rest unfinished.
    with contextlib.suppress(ClusterError):
        wait_for("the roles to be aggregated", lambda: rights_on_tasks(users) == EXPECTED, 30)
    assert rights_on_tasks(users) == EXPECTED
