"""A skipped test fails the run, unless the allow-list names it and says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ALLOWED_SKIPS, allowed_skips

pytest_plugins = ["pytester"]

SKIPPING = "import pytest\n\ndef test_it():\n    pytest.skip('no such thing here')\n\ndef test_other():\n    pass\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with our conftest and a test that skips."""
    shutil.copy(ALLOWED_SKIPS.with_name("conftest.py"), pytester.path / "conftest.py")
    (pytester.path / "test_it.py").write_text(SKIPPING)
    return pytester


def test_a_skip_that_nobody_argued_for_fails_the_run(project: pytest.Pytester) -> None:
    (project.path / "allowed_skips.txt").write_text("# none\n")
    result = project.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*SKIPPED WITHOUT AN ENTRY*test_it.py::test_it*no such thing here*"])


def test_a_skip_with_a_reason_in_the_list_passes(project: pytest.Pytester) -> None:
    (project.path / "allowed_skips.txt").write_text("test_it.py::test_it  # needs a thing\n")
    assert project.runpytest_subprocess("-p", "no:cacheprovider").ret == pytest.ExitCode.OK


def test_an_entry_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="no reason"):
        allowed_skips("tests/e2e/test_kind*\n")


def test_the_real_list_is_well_formed() -> None:
    assert allowed_skips(Path(ALLOWED_SKIPS).read_text())
