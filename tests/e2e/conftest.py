"""The stage for all end-to-end tests, and a scene for each.

WAYPOST_TEST_CLUSTER names the provider (local, kind, existing; `existing` also needs WAYPOST_TEST_KUBECONFIG). A
cluster that was up before the tests stays up; one that they started is ended, unless WAYPOST_TEST_KEEP is set.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import ClusterError, provider
from tests.cluster.provider import Cluster
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage

SECONDS = 240
"""For one test, without the stage: the first one on a fresh machine builds Kubernetes."""
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SECONDS, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Everything a task needs, set up once."""
    kubeconfig = os.environ.get("WAYPOST_TEST_KUBECONFIG")
    cluster = provider(
        os.environ.get("WAYPOST_TEST_CLUSTER", "local"), kubeconfig=Path(kubeconfig) if kubeconfig else None
    )
    stage = Stage(cluster)
    with stage.alone():
        stays = answers(cluster) or "WAYPOST_TEST_KEEP" in os.environ
        stage.set_up()
        yield stage
        if not stays:
            cluster.down()


def answers(cluster: Cluster) -> bool:
    """Whether the cluster is up already."""
    try:
        return cluster.kubeconfig.exists() and bool(cluster.kubectl("version", "--request-timeout=3s"))
    except ClusterError:
        return False


@pytest.fixture
def scenes(stage: Stage, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Scene]]:
    """Makes scenes for one test; after a failure each says what a person would look at."""
    with ExitStack() as stack:

        def make(name: str) -> Scene:
            scene = Scene(stage, name, tmp_path)
            stack.callback(lambda: print(scene.describe()) if request.node.stash.get(FAILED, False) else None)
            stack.push(scene)
            scene.__enter__()
            return scene

        yield make


@pytest.fixture
def scene(scenes: Callable[[str], Scene], request: pytest.FixtureRequest) -> Scene:
    """The scene of one test, in a namespace called after it; no two runs share one, since a namespace takes its time
    to go."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return scenes(f"e2e-{name[:45].strip('-')}-{uuid.uuid4().hex[:6]}")
