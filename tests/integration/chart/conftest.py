"""One API server for all tests of the chart; tests keep apart by namespaces of their own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import ControlPlane
from tests.cluster.kubeconfig import Kubectl
from tests.integration.chart.helm import RELEASE_NAMESPACE, ROOT, Helm

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start() as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl as the administrator, on an API server that has the CRD and the release's namespace."""
    plane.kubectl.install_crd(ROOT / "manifests/crd.yaml", "checkpointedtasks.waypost.dev")
    plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
    return plane.kubectl


@pytest.fixture(scope="session")
def apply(kubectl: Kubectl) -> Callable[..., str]:
    """Applies a task the way a user does; raises ClusterError with what kubectl says."""

    def apply(item: dict[str, Any], *options: str) -> str:
        return kubectl("apply", "-f", "-", *options, stdin=json.dumps(item))

    return apply


@pytest.fixture
def new_namespace(kubectl: Kubectl) -> Callable[..., str]:
    """Makes a namespace that no other test uses, with the given labels ("key=value"), and returns its name."""

    def create(*labels: str) -> str:
        name = f"chart-{next(_numbers)}"
        kubectl("create", "namespace", name)
        if labels:
            kubectl("label", "namespace", name, *labels)
        return name

    return create


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without any cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture
def own_plane() -> Iterator[ControlPlane]:
    """An API server of the test's own, to install into and uninstall from."""
    with ControlPlane.start() as plane:
        yield plane


@pytest.fixture
def installer(own_plane: ControlPlane, tmp_path: Path) -> Helm:
    """Helm on `own_plane`."""
    return Helm(tmp_path, own_plane.kubeconfig)
