"""Deleting a whole store, so that nothing of it comes back: a FENCE that nobody can outbid, then everything else.

The FENCE stays, a few hundred bytes with format.json: a writer that was cut off long ago may still put an entry, and a
starter that was paused its own FENCE; whoever reads afterwards finds the deletion above all that (rule 14; the model
found that a store whose last fence is removed comes back to life). The rest may be deleted in any number of runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from waypost.backends.protocol import UNFINISHED, is_unfinished
from waypost.store import format as store_format
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.scopes import placed

_PAGE: Final = 1000


@dataclasses.dataclass(frozen=True)
class Deleted:
    """What a deletion has removed."""

    packs: int
    """Packs and manifests."""
    entries: int
    """Log entries."""


def delete_store(calls: Calls) -> Deleted | None:
    """Delete the store for good; to be repeated after whatever went wrong. None when there is no store.

    Only keys of the format's own forms are deleted. Raises StorageError, ConfigurationError.
    """
    mode = store_format.known_mode(calls)
    if mode is None:
        return None
    fence = store_format.journal_of(mode, calls).end()
    packs = sum(_delete(calls, folder) for folder in (keys.PACKS, keys.MANIFESTS))
    _delete(calls, keys.PROBE)
    for key in _listed(calls, keys.PARTS):
        if keys.part_fence(key) is not None:
            calls.delete("delete the parts of", key)
    for key in _listed(calls, UNFINISHED):
        if is_unfinished(key):
            calls.delete("delete unfinished files of", key)
    entries = [key for key in _listed(calls, keys.LOG) if _is_entry(key) and key != fence]
    for key in reversed(entries):  # a LIST gives the newest first; the oldest goes first
        calls.delete("delete the log of", key)
    return Deleted(packs, len(entries))


def _delete(calls: Calls, folder: str) -> int:
    count = 0
    for key in _listed(calls, folder):
        if keys.upload_of(key.removeprefix(folder)) is not None:
            calls.delete("delete the data of", key)
            count += 1
    return count


def _listed(calls: Calls, folder: str) -> Iterator[str]:
    after = ""
    while page := calls.list("list what to delete of", folder, after, _PAGE):
        yield from page
        after = page[-1]


def _is_entry(key: str) -> bool:
    return keys.log_sequence(key) is not None or placed(key) is not None
