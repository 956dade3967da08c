"""A snapshot by hard links: it costs a link for each file, whatever its size.

A link keeps the bytes of a file that the program replaces (writes anew and renames over the old one) or removes, but
not of one that it writes to in place. Nothing tells the two kinds of program apart beforehand, so links are made only
where the caller has promised that these files are never written to again. The promise is checked as far as it can be:
when a file is read, and once more behind that, size and modification time have to be what they were, or the save fails
(EBUSY). A write through a mapping, or within the same tick of the kernel's clock, may show in neither. (The change time
says nothing here: it moves with the number of links, so whenever the program replaces a file.)

Links can only be made in the same file system, so they stand in a folder beside the source.
"""

from __future__ import annotations

import dataclasses
import os

from waypost.store.beside import Private, private_folder
from waypost.store.sources import Content
from waypost.store.tree import SNAPSHOTS


def linked(content: Content, source: str | os.PathLike[str]) -> Content | None:
    """The same content by links of its own; None where none can be made: another file system, a read-only folder.

    Raises OSError when a file has gone meanwhile.
    """
    parent = os.path.dirname(os.path.realpath(os.fsencode(source)))
    folder = private_folder(parent, SNAPSHOTS)
    if folder is None:
        return None
    try:
        places = [_link(place, folder, index) for index, place in enumerate(content.places)]
    except FileNotFoundError:
        folder.remove()
        raise
    except OSError:
        folder.remove()
        return None
    except BaseException:
        folder.remove()
        raise
    return dataclasses.replace(content, places=places, lasting=True, release=folder.remove)


def _link(place: object, folder: Private, index: int) -> bytes | None:
    if not isinstance(place, bytes):
        return None
    target = folder.at(b"%d" % index)
    os.link(place, target, follow_symlinks=False)
    return target
