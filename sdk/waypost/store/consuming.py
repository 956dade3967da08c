"""A snapshot by a rename: the program gives its file or folder up, and it is Waypost's, whatever its size.

It moves into a private folder beside where it was. What becomes of it there:

- The save stands, or a newer one takes its place: it is removed.
- The save fails: it stays, and the error says where. While `save` is still under way it is put back instead; later it
  isn't, because the program may be making another one of the same name, and would find the two mixed.
- The program is killed: it stays, too.

What has stayed is removed when a newer save that was given up from the same folder to the same store stands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os

from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.store import tree
from waypost.store.beside import Private, sweep
from waypost.store.sources import Content
from waypost.store.tree import GIVEN


def consumed(content: Content, source: str | os.PathLike[str], owner: str) -> Content | None:
    """The same content where nobody else looks for it; None, with a warning, where it can't be moved.

    `owner` names the store, and the rank, that it is saved to. Raises ConfigurationError for a symbolic link.
    """
    path = os.path.normpath(os.path.abspath(os.fsencode(source)))
    if os.path.islink(path):
        raise ConfigurationError(
            f"can't take over {tree.show(path)}: it is a symbolic link; give the path that it leads to"
        )
    try:
        given = Given(path, owner)
    except OSError as error:
        logger.warning(
            "can't take over %s by a rename (%s): it is saved from where it is, and stays there. Save a folder or a "
            "file whose parent folder is writable and on the same file system",
            tree.show(path),
            error,
        )
        return None
    whole = os.path.isdir(given.moved)
    places = [
        (os.path.join(given.moved, node.path) if whole else given.moved) if isinstance(place, bytes) else place
        for node, place in zip(content.nodes, content.places, strict=True)
    ]
    return dataclasses.replace(content, places=places, lasting=True, given=given)


class Given:
    """What a program has given up."""

    def __init__(self, path: bytes, owner: str) -> None:
        """Move it. Raises OSError, and has moved nothing then."""
        self._path, self._parent = path, os.path.dirname(path)
        self._prefix = GIVEN + hashlib.blake2s(owner.encode(), digest_size=6).hexdigest().encode() + b"-"
        self._folder = Private(self._parent, self._prefix)
        self.moved = self._folder.at(os.path.basename(path))
        self.awaited = True
        """Whether the caller is still in `save`, so that it may be put back."""
        try:
            os.rename(path, self.moved)
        except BaseException:
            self._put_back()
            raise

    def remove(self) -> None:
        """It isn't needed any more."""
        self._folder.remove()

    def keep(self, error: BaseException) -> None:
        """The save has failed with this error, which is to say where it is now."""
        if self.awaited and self._put_back():
            error.add_note(f"what was to be saved is where it was: {tree.show(self._path)}")
            return
        self._folder.let_go()
        note = f"what was to be saved stays in {tree.show(self.moved)} until a newer save from there stands"
        logger.warning("%s", note)
        error.add_note(note)

    def sweep(self) -> None:
        """The save stands: what earlier ones left there is of no use any more."""
        with contextlib.suppress(OSError):
            sweep(self._parent, self._prefix)

    def _put_back(self) -> bool:
        if os.path.lexists(self.moved):
            if os.path.lexists(self._path):
                return False
            try:
                os.rename(self.moved, self._path)
            except OSError:
                return False
        self._folder.remove()
        return True
