"""One control plane for all tests of the operator; each test has a namespace, and operators that serve only it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import ControlPlane

from .kubelet import Kubelet
from .process import OperatorProcess
from .stage import Stage, open_stage

CRD = Path(__file__).parents[3] / "manifests/crd.yaml"
_numbers = itertools.count(1)


def install_crd(plane: ControlPlane) -> None:
    """Make the API server know CheckpointedTasks."""
    plane.kubectl.install_crd(CRD, "checkpointedtasks.waypost.dev")


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start(controller_manager=True) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture
async def stage(plane: ControlPlane) -> AsyncIterator[Stage]:
    async with open_stage(plane.kubeconfig, f"operator-{next(_numbers)}") as stage:
        yield stage


@pytest.fixture
def kubelet(stage: Stage) -> Kubelet:
    return Kubelet(stage)


@pytest.fixture
def launch(plane: ControlPlane, stage: Stage, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators that serve the stage's namespace; with a kubeconfig of one's own to go through a proxy."""
    with ExitStack() as stack:

        def launch(*arguments: str, kubeconfig: Path | None = None, leader: bool = True) -> OperatorProcess:
            log = tmp_path / f"operator-{len(stage.logs) + 1}.log"
            log.touch()
            stage.logs.append(log)
            election = ("--lease-namespace", stage.namespace) if leader else ("--no-leader-election",)
            served = ("--namespace", stage.namespace, "--cleanup-image", "waypost:test", *election, *arguments)
            return stack.enter_context(OperatorProcess(kubeconfig or plane.kubeconfig, log, *served))

        yield launch


@pytest.fixture
def operator(launch: Callable[..., OperatorProcess]) -> OperatorProcess:
    """One operator, leading."""
    process = launch()
    process.wait_for("leading:")
    return process
