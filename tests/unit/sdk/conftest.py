"""One attempt in a folder of its own, on an empty file:// store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt


@pytest.fixture
def store(tmp_path: Path) -> str:
    """URI of a store that isn't there yet."""
    return (tmp_path / "store").as_uri()


@pytest.fixture
def attempt(tmp_path: Path, store: str) -> Attempt:
    """The first attempt of a task."""
    folder = tmp_path / "pod"
    folder.mkdir()
    return Attempt(folder, store)
