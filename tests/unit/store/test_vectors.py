"""The vectors in tests/vectors mean today what they meant when they were written: to Waypost, and to a stranger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.test_a_stranger_can_read import DamageError, known, stranger_restores
from tests.vectors.make import FOLDER, MAKERS, described
from waypost.checkpoints import Checkpoints
from waypost.errors import CorruptCheckpointError, StoreDeletedError
from waypost.store.sequences import Sequences

VECTORS = sorted(path.parent.name for path in FOLDER.glob("*/expect.json"))
MOST_BYTES = 50 * 1024


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy: a reader that wrote would go unnoticed otherwise."""
    shutil.copytree(FOLDER / request.param / "store", tmp_path / "store")
    return tmp_path / "store"


def expected(vector: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / vector / "expect.json").read_text())
    return found


def content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("store", "vector"), [(name, name) for name in VECTORS], indirect=["store"], ids=VECTORS)
def test_waypost_reads_it_as_expected_and_changes_nothing(store: Path, vector: str, tmp_path: Path) -> None:
    expect, before, target = expected(vector), content(store), tmp_path / "restored"
    with Checkpoints(store.as_uri(), attempt=None) as reader:
        if "error" in expect:
            kind = StoreDeletedError if expect["error"] == "deleted" else CorruptCheckpointError
            with pytest.raises(kind):
                reader.restore(target)
        else:
            info = reader.restore(target)
            assert (None if info is None else info.sequence) == expect.get("restores")
            listed = expect.get("listed", expect["live"])
            assert [entry.sequence for entry in reader.list()] == listed[::-1]
            assert reader.completed == expect.get("completed", False)
            if info is not None:
                assert described(target) == expect["files"]
    assert content(store) == before


@pytest.mark.parametrize(("store", "vector"), [(name, name) for name in VECTORS], indirect=["store"], ids=VECTORS)
def test_a_stranger_reads_it_as_expected(store: Path, vector: str, tmp_path: Path) -> None:
    expect, target = expected(vector), tmp_path / "restored"
    if "error" in expect:
        with pytest.raises(DamageError):
            stranger_restores(store, target)
        return
    assert stranger_restores(store, target) == expect.get("restores")
    log, _ = known(store)
    assert list(Sequences.from_json(log["live"])) == expect["live"][::-1]
    assert list(Sequences.from_json(log["pinned"])) == expect.get("pinned", [])
    assert log["completed"] == expect.get("completed", False)
    if "restores" in expect:
        assert described(target) == expect["files"]


def test_every_vector_is_small_and_has_a_maker() -> None:
    assert sorted(make.__name__.replace("_", "-") for make in MAKERS) == VECTORS
    for name in VECTORS:
        assert sum(len(raw) for raw in content(FOLDER / name).values()) < MOST_BYTES
