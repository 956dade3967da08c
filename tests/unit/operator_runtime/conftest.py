"""What several tests of the whole runtime share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The worker survives whatever a decision raises, and logs it; here that is a failure."""
    caplog.set_level(logging.ERROR, logger="waypost_operator")
    yield
    assert not caplog.records, caplog.text
