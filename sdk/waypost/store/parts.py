"""What one rank says in a call that all ranks of a group make together, and how their parts become one checkpoint.

The ranks of a group make the same calls in the same order: joining, restoring, saving, completing. Each call has an
ordinal, and in each a rank may put one part, under a key that carries the fence, the ordinal and the rank: so a part
of an earlier execution, of another call or of another rank can't be taken for it (H10). A part says which call it
belongs to, which shows at once when the ranks of a program have got out of step.

One checkpoint holds all parts: a folder for each rank, named by its number, with what that rank saved.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

from waypost.errors import ConfigurationError
from waypost.store import tree
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, ManifestObject, manifest_members, manifest_of, seal, unseal
from waypost.store.group import Group
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.tree import Kind, Node

JOINING: Final = 0
"""The ordinal of the first call: a rank takes its seat."""
_TYPE: Final = "PART"
_FOLDER_MODE: Final = 0o755


class Call(enum.StrEnum):
    """What the ranks do together."""

    JOIN = "join"
    RESTORE = "restore"
    SAVE = "save"
    COMPLETE = "complete"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """What one rank says in one call."""

    fence: int
    ordinal: int
    rank: int
    ranks: int
    call: Call
    nonce: str
    """Of the process: the one that has taken the rank's seat."""
    step: int | None = None
    """Of a save."""
    manifest: Mapping[str, Any] | ManifestObject | None = None
    """Of a save: what this rank has uploaded."""
    sequence: int | None = None
    """Of a restore: the checkpoint whose part was found whole; rank 0 says last which one it has to be."""
    agreed: bool = False
    """Of a restore, by rank 0: every rank has that one."""

    def encode(self) -> bytes:
        """The bytes of the part; raises ValueError beyond MAX_ENTRY."""
        record: dict[str, Any] = {
            "type": _TYPE,
            "fence": self.fence,
            "ordinal": self.ordinal,
            "rank": self.rank,
            "ranks": self.ranks,
            "call": str(self.call),
            "nonce": self.nonce,
        }
        match self.call:
            case Call.SAVE:
                assert self.manifest is not None
                record |= {"step": self.step} | manifest_members(self.manifest)
            case Call.RESTORE:
                record |= {"sequence": self.sequence, "agreed": self.agreed}
        return seal(record)


def decode(raw: bytes) -> Part:
    """Read a part; raises DamagedError for anything but a whole one."""
    try:
        return _decode(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"a rank's part can't be read: {error}") from error


def _decode(raw: bytes) -> Part:
    fields = unseal(raw)
    part = Part(
        fence=fields.integer("fence", low=1),
        ordinal=fields.integer("ordinal"),
        rank=fields.integer("rank"),
        ranks=fields.integer("ranks", low=2),
        call=Call(fields.text("call")),
        nonce=fields.text("nonce"),
        step=fields.optional_integer("step"),
        manifest=manifest_of(fields),
        sequence=fields.optional_integer("sequence", low=1),
        agreed=fields.record.get("agreed") is True,
    )
    if fields.record.get("type") != _TYPE or (part.call is Call.SAVE) != (part.manifest is not None):
        raise ValueError("it is no part, or a save's without a manifest")
    return part


def combined(manifests: Sequence[Manifest], mtime_ns: int) -> Manifest:
    """One checkpoint of all ranks' parts, in their order; raises ValueError for a path that gets too long."""
    nodes: list[Node] = []
    chunks: list[Sequence[Chunk]] = []
    packs: list[Pack] = []
    for rank, part in enumerate(manifests):
        folder = part_folder(rank)
        nodes.append(Node(folder, Kind.FOLDER, _FOLDER_MODE, mtime_ns))
        chunks.append(())
        for node, content in zip(part.nodes, part.chunks, strict=True):
            moved = dataclasses.replace(node, path=folder + b"/" + node.path)
            if (problem := tree.path_problem(moved.path)) is not None:
                raise ValueError(f"the path {tree.show(node.path)} of rank {rank} {problem}")
            nodes.append(moved)
            chunks.append([dataclasses.replace(chunk, pack=chunk.pack + len(packs)) for chunk in content])
        packs.extend(part.packs)
    return Manifest(nodes, chunks, packs)


def chosen(entry: Checkpoint, whole: Manifest, rank: int | str | None, group: Group | None) -> Manifest:
    """What a restore is to give of a checkpoint: the part of `rank`, "all", or by default one's own.

    Outside a group the default is everything. Raises ConfigurationError where that isn't clear, or there is no such
    part.
    """
    if rank == "all" or (rank is None and group is None):
        return whole
    saved_by = f"checkpoint {entry.sequence} was saved by " + (
        "a single process" if entry.ranks is None else f"{entry.ranks} ranks"
    )
    if rank is None:
        assert group is not None
        if entry.ranks != group.size:
            raise ConfigurationError(
                f"{saved_by}, and this is {group}: which part it is to have isn't clear. Ask for restore(rank='all')"
                + ("" if entry.ranks is None else f", or for the parts it needs, by rank=0 to {entry.ranks - 1}")
            )
        rank = group.rank
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < (entry.ranks or 0):
        raise ConfigurationError(f"there is no part of rank {rank!r}: {saved_by}")
    return whole.below(part_folder(rank))


def part_folder(rank: int) -> bytes:
    """The folder of a rank's part in the checkpoint of a group."""
    return b"%d" % rank
