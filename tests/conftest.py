"""Rules for every test: a skip is an error unless tests/allowed_skips.txt names the test and says why."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import settings

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips(text: str) -> dict[str, str]:
    """Parse the allow-list: `<node id pattern>  # <reason>` a line; a line without a reason is refused."""
    allowed: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern, separator, reason = line.partition("  # ")
        if not separator or not reason.strip():
            raise ValueError(f"allowed_skips.txt: no reason given in {line!r}")
        allowed[pattern.strip()] = reason.strip()
    return allowed


# A wall-clock limit per example says more about the neighbours on this machine than about the code.
settings.register_profile("waypost", deadline=None)
settings.load_profile("waypost")


class SkipPolice:
    """Collects skipped tests and fails the session for those that nobody argued for."""

    def __init__(self, allowed: dict[str, str]) -> None:
        self.allowed = allowed
        self.unexpected: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not any(fnmatch(report.nodeid, pattern) for pattern in self.allowed):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.unexpected.append((report.nodeid, reason))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for node, reason in self.unexpected:
            terminalreporter.write_line(f"SKIPPED WITHOUT AN ENTRY in allowed_skips.txt: {node}: {reason}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipPolice(allowed_skips(ALLOWED_SKIPS.read_text())), "skip-police")


@pytest.fixture(autouse=True)
def no_contract_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that runs inside a Waypost pod must not pick up that pod's contract."""
    from waypost import contract

    for name in contract.ENV_NAMES:
        monkeypatch.delenv(name, raising=False)
