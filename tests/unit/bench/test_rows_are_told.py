"""What `make bench` makes of what it measured."""

from __future__ import annotations

import pytest

from tests.bench.contest import HTTP, OURS, TLS, Goal, Outcome, Row, Setting, Stage, times
from tests.bench.measuring import Measurement
from tests.bench.page import goals_table, table


def took(*seconds: float, requests: int = 1) -> list[Measurement]:
    return [
        Measurement(one, one / 2, 64.0, {"PutObject": requests}, 1 << 20, 0, 0.0, {"p99": 2 * one}) for one in seconds
    ]


def outcome(goal: Goal, setting: Setting = HTTP) -> Outcome:
    row = Row("upload", "A file", lambda _: [], goals=(goal,), moved=lambda _: 1 << 20, columns={"p99": "p99"})
    results = {OURS: took(0.5, 0.4, 0.6), "slow": took(3.0, 2.0, 1.0)}
    return Outcome(row, setting, results, {"broken": "it said no"}, frozenset([OURS]))


@pytest.mark.parametrize(("least", "verdict"), [(4.0, "yes"), (4.1, "**no**")])
def test_a_goal_is_judged_by_medians(least: float, verdict: str) -> None:
    told = goals_table([outcome(Goal("4 times as fast", times("slow"), least=least))]).splitlines()[-1]
    assert told.split("|")[3].strip() == "4.00"
    assert told.split("|")[4].strip() == verdict


def test_a_goal_belongs_to_its_setting_and_needs_its_contestants() -> None:
    over_tls = Goal("over TLS", times("slow"), least=1, setting=TLS)
    absent = Goal("beside nobody", times("absent"), least=1)
    assert len(goals_table([outcome(over_tls), outcome(absent)]).splitlines()) == 2
    assert len(goals_table([outcome(over_tls, TLS)]).splitlines()) == 3


def test_a_table_has_the_fastest_first_and_hides_no_failure(stage: Stage) -> None:
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table(outcome(Goal("", times("slow"))), stage).splitlines()
    ]
    assert [line[0] for line in lines[2:]] == [f"**{OURS}**", "slow", "broken"]
    assert lines[2][1:5] == ["0.50 s (0.40 s..0.60 s)", "1.00", "2", "1.00 s"]
    assert lines[3][1:5] == ["2.00 s (1.00 s..3.00 s)", "4.00", "0", "4.00 s"]
    assert lines[4][1] == "failed"


@pytest.fixture
def stage() -> Stage:
    return Stage(None, None, 1, 3)  # type: ignore[arg-type]
