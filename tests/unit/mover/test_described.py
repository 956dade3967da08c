"""A content as the process beside the program is told of it: the same one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from waypost.mover.described import Described
from waypost.store.sources import look


def test_a_relative_path_leads_the_mover_where_it_leads_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`link/..` is where the link leads; taken for a text it would be another folder, with other bytes."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    for folder, content in (("far/data", b"right"), ("data", b"wrong")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(Described(look("link/../data"))) as described:
        monkeypatch.chdir("/")
        (place,) = described.description.places
        assert isinstance(place, bytes)
        assert Path(os.fsdecode(place)).read_bytes() == b"right"
