"""How large what is uploaded may get."""

from __future__ import annotations

import dataclasses
from typing import Final

from waypost.store import keys


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What goes where, in bytes; within the format's bounds every writer may choose."""

    inline: int = keys.MAX_INLINE
    """Content up to this size stands inside the entry."""
    manifest: int = keys.MAX_INLINE
    """Likewise a manifest."""
    pack: int = keys.PACK_TARGET
    """A pack holds at most so much."""
    memory: int = keys.PACKS_IN_MEMORY
    """All packs that are being filled or sent, together."""
    whole: int = 0
    """Bytes of the whole that a content is a part of: it decides how large chunks are, so that those of a file that is
    sent alone are those that were sent with all others."""


SIZES: Final = Sizes()
