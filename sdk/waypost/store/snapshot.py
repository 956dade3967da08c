"""How a source is made safe to change, or isn't: the one place where that is decided.

From the cheapest to the dearest, each where the caller allows it and the file system can; docs/sdk.md has the table.
"""

from __future__ import annotations

import os

from waypost.store import copying, sources
from waypost.store.cloning import cloned
from waypost.store.linking import linked
from waypost.store.sources import Content, Source


def snapshot(source: Source, *, wait: bool, immutable: bool) -> Content:
    """The content of bytes, or of the file or folder at a path, as it stands now.

    What is neither `copied` nor `lasting` has to be left alone until the save has ended. Raises OSError,
    and ConfigurationError.
    """
    content = sources.look(source)
    if not isinstance(source, str | os.PathLike):
        return content
    if wait:
        return content
    if immutable and (links := linked(content, source)) is not None:
        return links
    if content.size > copying.MAX_IN_MEMORY and (clones := cloned(content, source)) is not None:
        return clones
    return copying.copy_if_possible(content) or content
