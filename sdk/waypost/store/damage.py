"""What a reader finds wrong with something that is there: told apart from storage that can't be reached.

Damage is a reason to look again and then to fall back to an earlier checkpoint; a storage error never is.
"""

from __future__ import annotations


class DamagedError(Exception):
    """An object is missing, truncated, has the wrong content, or says something it may not say."""


class MissingEntryError(DamagedError):
    """There is nothing under a number that the log speaks of."""


class UnreadableEntryError(DamagedError):
    """A log entry that is no entry of this format: what it was is unknown, so nothing may be concluded from it."""
