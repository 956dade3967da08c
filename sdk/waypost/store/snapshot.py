"""How a source is made safe to change, or isn't: the one place where that is decided.

From the cheapest to the dearest, each where the caller allows it and the file system can; docs/sdk.md has the table.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from waypost.store import copying, sources
from waypost.store.cloning import cloned
from waypost.store.consuming import Given
from waypost.store.linking import linked
from waypost.store.sources import Content, Source


@dataclasses.dataclass(frozen=True)
class Leave:
    """What the caller of a save allows to be done with its source."""

    wait: bool = False
    """It may be read where it is: the caller waits for that."""
    immutable: bool = False
    """Its files may be linked: they are never written to again."""
    given: Given | None = None
    """It may be taken away."""


def snapshot(source: Source, leave: Leave, spared: Iterable[bytes] = ()) -> Content:
    """The content of bytes, or of the file or folder at a path, as it stands now.

    What is neither `copied` nor `lasting` has to be left alone until the save has ended. What is at the paths of
    `spared` is not to be taken away. Raises OSError, and ConfigurationError.
    """
    if leave.given is not None:
        return leave.given.take(spared)
    content = sources.look(source)
    if not isinstance(source, str | os.PathLike):
        return content
    if leave.wait:
        return content
    if leave.immutable and (links := linked(content, source)) is not None:
        return links
    if content.size > copying.MAX_IN_MEMORY and (clones := cloned(content, source)) is not None:
        return clones
    return copying.copy_if_possible(content) or content
