"""A place that answers 'not allowed' at the very first request is a StorageError, as at any later one."""

from __future__ import annotations

from pathlib import Path

import pytest

from waypost import Checkpoints, StorageError
from waypost.backends.file import FileBackend
from waypost.backends.protocol import RefusedError


class ReadOnlyPlace(FileBackend):
    """Lets nobody create anything, as a folder of another user does."""

    def put_new(self, key: str, data: bytes) -> None:
        raise RefusedError("Permission denied", "Let the container's user write there")


def test_a_probe_that_is_refused_names_the_place_the_cause_and_what_to_do(tmp_path: Path) -> None:
    place = ReadOnlyPlace((tmp_path / "store").as_uri())
    with pytest.raises(
        StorageError, match=r"can't probe file://.*/store: Permission denied\. Let the container's user"
    ):
        Checkpoints(backend=place, attempt=1)
