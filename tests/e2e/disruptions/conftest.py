"""A trio of tasks on a node that a test may do anything to, and that node made well again afterwards."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.cluster import NotSupportedError
from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import Row, Trio, table
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage

ROWS = pytest.StashKey[list[Row]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("disruptions: what became of each task")
        for line in table(rows):
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """What the provider can't do to a node, it says; allowed_skips.txt knows. The local one can do all of it."""
    try:
        return (yield)
    except NotSupportedError as error:
        if provider_is_local():
            raise
        pytest.skip(str(error))


def provider_is_local() -> bool:
    return os.environ.get("WAYPOST_TEST_CLUSTER", "local") == "local"


@pytest.fixture
def victim(stage: Stage) -> Iterator[Victim]:
    """The node that may be harmed; it is well again when the test is over."""
    name = stage.cluster.nodes[-1]
    if name == stage.home:
        if provider_is_local():
            pytest.fail("the local cluster has one node: `python -m tests.cluster down`, and these tests start two")
        pytest.skip("a cluster of one node has none that may be harmed: the operator runs there")
    victim = Victim(stage, name)
    victim.wait_empty()
    yield victim
    victim.heal()


@pytest.fixture
def trio(scene: Scene, victim: Victim, request: pytest.FixtureRequest) -> Trio:
    """Three tasks for this test, not yet applied."""
    return Trio(scene, victim.name, request.config.stash.setdefault(ROWS, []))
