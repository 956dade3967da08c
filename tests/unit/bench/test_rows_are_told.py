"""What `make bench` makes of what it measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.bench.contest import HTTP, OURS, REAL, TLS, Circumstances, Goal, Outcome, Row, Setting, times
from tests.bench.kept import keep, read
from tests.bench.measuring import Measurement
from tests.bench.page import body, goals_table, table

TODAY = Circumstances("2026-01-02", "2 cores", 1, 3)


def took(*seconds: float, requests: int = 1) -> list[Measurement]:
    return [
        Measurement(one, one / 2, 64.0, 40.0, {"PutObject": requests}, 1 << 20, 0, 0.0, {"p99": 2 * one})
        for one in seconds
    ]


def outcome(goal: Goal, setting: Setting = HTTP) -> Outcome:
    row = Row("upload", "A file", lambda _: [], goals=(goal,), moved=lambda _: 1 << 20, columns={"p99": "p99"})
    results = {OURS: took(0.5, 0.4, 0.6), "slow": took(3.0, 2.0, 1.0)}
    return Outcome(row, setting, results, {"broken": "it said no"}, frozenset([OURS]), TODAY, 1 << 20)


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


def test_a_table_has_the_fastest_first_and_hides_no_failure() -> None:
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table(outcome(Goal("", times("slow")))).splitlines()
    ]
    assert [line[0] for line in lines[2:]] == [f"**{OURS}**", "slow", "broken"]
    assert lines[2][1:5] == ["0.50 s (0.40 s..0.60 s)", "1.00", "2", "1.00 s"]
    assert lines[3][1:5] == ["2.00 s (1.00 s..3.00 s)", "4.00", "0", "4.00 s"]
    assert lines[4][1] == "failed"


def test_fewer_runs_than_rounds_are_said() -> None:
    one = outcome(Goal("", times("slow")))
    one.results["slow"] = took(3.0, 1.0)
    assert "2.00 s (1.00 s..3.00 s; 2 runs)" in table(one)


def test_memory_of_waypost_is_told_with_its_uploaders_own() -> None:
    lines = table(outcome(Goal("", times("slow")))).splitlines()
    assert [line.split("|")[7].strip() for line in lines[2:4]] == ["64 (40)", "64"]


def measured(row: Row, setting: Setting, *seconds: float, when: Circumstances = TODAY) -> Outcome:
    return Outcome(row, setting, {OURS: took(*seconds)}, {}, frozenset([OURS]), when, None)


FIRST = Row("first", "The one", lambda _: [], settings=(HTTP, TLS, REAL))
SECOND = Row("second", "The other", lambda _: [])


def test_a_row_measured_again_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    path, rows = tmp_path / "kept.json", [FIRST, SECOND]
    for one in (measured(SECOND, HTTP, 1.0), measured(FIRST, TLS, 2.0), measured(FIRST, HTTP, 3.0)):
        assert keep(one, rows, path)
    again = measured(FIRST, TLS, 4.0, 6.0, when=dataclasses.replace(TODAY, date="2026-02-03"))
    assert keep(again, rows, path)
    assert read(rows, path) == [measured(FIRST, HTTP, 3.0), again, measured(SECOND, HTTP, 1.0)]


def test_a_row_that_failed_leaves_what_was_kept_of_it(tmp_path: Path) -> None:
    path, good = tmp_path / "kept.json", measured(FIRST, HTTP, 1.0)
    failed = Outcome(FIRST, HTTP, {}, {OURS: "trouble:\nno such luck"}, frozenset([OURS]), TODAY, None)
    assert keep(failed, [FIRST], path)
    assert "no such luck" in read([FIRST], path)[0].failures[OURS]
    assert keep(good, [FIRST], path)
    assert not keep(failed, [FIRST], path)
    assert read([FIRST], path) == [good]


def test_the_page_says_which_rows_were_measured_another_day_and_sets_the_real_server_apart() -> None:
    later = dataclasses.replace(TODAY, date="2026-02-03")
    told = body(
        [
            measured(FIRST, HTTP, 1.0),
            measured(FIRST, TLS, 1.0),
            measured(FIRST, REAL, 1.0),
            measured(SECOND, HTTP, 1.0, when=later),
        ]
    )
    assert told.startswith("Measured 2026-01-02: 2 cores")
    assert told.count("(Measured 2026-02-03") == 1
    sink, _, real = told.partition("versitygw\n")
    assert "| first, http, versitygw" in real
    assert "second, http" in sink
