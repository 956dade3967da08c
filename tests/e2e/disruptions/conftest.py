"""A trio of tasks on a node that a test may do anything to, and that node made well again afterwards."""

from __future__ import annotations

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
    """What the provider can't do to a node, it says; allowed_skips.txt knows."""
    try:
        return (yield)
    except NotSupportedError as error:
        pytest.skip(str(error))


@pytest.fixture
def victim(stage: Stage) -> Iterator[Victim]:
    """The node that may be harmed; it is well again when the test is over."""
    name = stage.cluster.nodes[-1]
    if name == stage.home:
        pytest.skip("a cluster of one node has none that may be harmed: the operator runs there")
    victim = Victim(stage, name)
    victim.wait_empty()
    yield victim
    victim.heal()


@pytest.fixture
def trio(scene: Scene, victim: Victim, request: pytest.FixtureRequest) -> Trio:
    """Three tasks for this test, not yet applied."""
    return Trio(scene, victim.name, request.config.stash.setdefault(ROWS, []))
