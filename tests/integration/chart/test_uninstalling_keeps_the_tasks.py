"""Install, upgrade and uninstall for real: the CRD follows upgrades, and no way out takes the tasks along."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cluster import ClusterError, ControlPlane
from tests.integration.chart.helm import CHART, RELEASE_NAMESPACE, ROOT, Helm, HelmError
from tests.integration.chart.tasks import task

pytestmark = pytest.mark.integration

INSTALL = str(ROOT / "manifests/install.yaml")


def names(plane: ControlPlane, kind: str) -> list[str]:
    return plane.kubectl("get", kind, "-A", "-o", "name").split()


def test_helm_uninstall_leaves_the_crd_and_every_task(own_plane: ControlPlane, installer: Helm) -> None:
    notes = installer.install()
    assert f"kubectl -n {RELEASE_NAMESPACE} rollout status deployment/waypost" in notes
    own_plane.kubectl.established("checkpointedtasks.waypost.dev")
    own_plane.kubectl.apply(task())
    installer.uninstall()
    assert names(own_plane, "deployments") == []
    assert names(own_plane, "ckt") == ["checkpointedtask.waypost.dev/good"]
    installer.install()
    assert names(own_plane, "ckt") == ["checkpointedtask.waypost.dev/good"]


def test_no_longer_installing_the_crd_with_the_release_leaves_it(own_plane: ControlPlane, installer: Helm) -> None:
    installer.install()
    installer.install({"crds": {"install": False}})
    assert names(own_plane, "crd") == ["customresourcedefinition.apiextensions.k8s.io/checkpointedtasks.waypost.dev"]


def test_an_upgrade_brings_the_new_crd(own_plane: ControlPlane, installer: Helm, tmp_path: Path) -> None:
    installer.install()
    newer = tmp_path / "newer"
    shutil.copytree(CHART, newer)
    crd = newer / "templates/crd.yaml"
    crd.write_text(crd.read_text().replace("    - ckt\n", "    - ckt\n    - cktask\n"))
    installer.install(chart=newer)
    stored = own_plane.kubectl.json("get", "crd", "checkpointedtasks.waypost.dev")
    assert stored["spec"]["names"]["shortNames"] == ["ckt", "cktask"]


def test_a_second_release_shares_the_crd_by_not_installing_it(own_plane: ControlPlane, installer: Helm) -> None:
    own_plane.kubectl("create", "namespace", "team-a")
    installer.install()
    values = {"watch": {"namespaces": ["team-a"]}, "rbac": {"aggregate": False}}
    with pytest.raises(HelmError, match="exists and cannot be imported into the current release"):
        installer.install(values, release="second")
    installer.install({**values, "crds": {"install": False}}, release="second")
    assert "deployment.apps/second-waypost" in names(own_plane, "deployments")


def test_plain_manifests_are_taken_away_by_their_label_and_leave_crd_and_tasks(own_plane: ControlPlane) -> None:
    kubectl = own_plane.kubectl
    kubectl("apply", "--server-side", "-f", INSTALL)
    own_plane.kubectl.established("checkpointedtasks.waypost.dev")
    kubectl.apply(task())
    kubectl("delete", "-f", INSTALL, "--selector=app.kubernetes.io/name=waypost", "--wait=false")
    assert [name for name in names(own_plane, "clusterroles,clusterrolebindings") if "waypost" in name] == []
    assert names(own_plane, "deployments") == []
    assert names(own_plane, "ckt") == ["checkpointedtask.waypost.dev/good"]
    with pytest.raises(ClusterError, match="NotFound"):
        kubectl("get", "serviceaccount", "waypost", "-n", RELEASE_NAMESPACE)


def test_plain_manifests_can_be_applied_over_themselves(own_plane: ControlPlane) -> None:
    own_plane.kubectl("apply", "--server-side", "-f", INSTALL)
    own_plane.kubectl("apply", "--server-side", "-f", INSTALL)
    assert own_plane.kubectl("diff", "--server-side", "-f", INSTALL) == ""
