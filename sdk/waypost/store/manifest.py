"""A manifest: which nodes a checkpoint has, and in which packs the bytes of its files stand.

JSON, with names that are valid UTF-8 as text and any other name in base64 (`path64`), because JSON text can't hold
arbitrary bytes. A file's content is a row of chunks `[pack, offset, length, blake3]`; the pack is an index into the
list of packs. A checkpoint whose content stands in its entry has the one pack `inline`. A hole of a sparse file is
`[length]`: zeros that stand in no pack and take no room on the disk.

What is read is checked as if an enemy had written it: every size is bounded before anything is allocated for it,
every path is relative and leads through folders of the same manifest only.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Sequence, Set
from typing import Any, Final

from waypost.store import keys, tree
from waypost.store.damage import DamagedError
from waypost.store.density import too_dense
from waypost.store.members import Members
from waypost.store.pickled import by_values
from waypost.store.sequences import MAX_SEQUENCE
from waypost.store.tree import Kind, Node

INLINE: Final = "inline"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DENSEST: Final = 4
"""Bytes for each comma and bracket in the densest manifest that anybody means: a file of nothing but holes has 5. What
is denser takes twenty times its size in memory."""
_NANO: Final = 10**9
_MAX_SECONDS: Final = 2**40


_NOWHERE: Final = -1


@by_values
@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file, in a pack."""

    pack: int
    offset: int
    length: int
    digest: str
    head: bytes = dataclasses.field(default=b"", compare=False, repr=False)
    """How it begins, where it was this process that packed it; it isn't written down."""

    @classmethod
    def hole(cls, length: int) -> Chunk:
        """Zeros that stand in no pack."""
        return cls(_NOWHERE, 0, length, "")

    @property
    def is_hole(self) -> bool:
        """Whether these are zeros that stand in no pack."""
        return self.pack == _NOWHERE


@dataclasses.dataclass(frozen=True, slots=True)
class Pack:
    """An immutable object that holds chunks."""

    name: str
    size: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The nodes of a checkpoint, the chunks of each (empty unless it is a file with content), and the packs."""

    nodes: Sequence[Node]
    chunks: Sequence[Sequence[Chunk]]
    packs: Sequence[Pack]

    @property
    def written(self) -> int:
        """Bytes that its files take on a disk: all but the holes."""
        return sum(self.sizes_written)

    @property
    def sizes_written(self) -> Sequence[int]:
        """The same for each node."""
        return [sum(chunk.length for chunk in chunks if not chunk.is_hole) for chunks in self.chunks]

    def part(self, paths: Set[bytes]) -> Manifest:
        """What is at these paths and below them, and the folders on the way there.

        Raises KeyError for a path that it doesn't have.
        """
        above = {parent for path in paths for parent in tree.parents(path)}
        kept, missing = [], set(paths)
        for index, node in enumerate(self.nodes):
            missing.discard(node.path)
            if node.path in paths or node.path in above or not paths.isdisjoint(tree.parents(node.path)):
                kept.append(index)
        if missing:
            raise KeyError(min(missing))
        return Manifest([self.nodes[index] for index in kept], [self.chunks[index] for index in kept], self.packs)

    def to_json(self) -> dict[str, Any]:
        """As it is written down."""
        return {
            "packs": [{"name": pack.name, "size": pack.size} for pack in self.packs],
            "nodes": [_node_to_json(node, chunks) for node, chunks in zip(self.nodes, self.chunks, strict=True)],
        }

    def below(self, folder: bytes) -> Manifest:
        """What it says of one folder, by paths that begin there."""
        start = folder + b"/"
        kept = [
            (dataclasses.replace(node, path=node.path.removeprefix(start)), chunks)
            for node, chunks in zip(self.nodes, self.chunks, strict=True)
            if node.path.startswith(start)
        ]
        return Manifest([node for node, _ in kept], [chunks for _, chunks in kept], self.packs)


def decode(raw: bytes) -> Manifest:
    """Read a manifest object; raises DamagedError."""
    return from_json(parse(raw))


def parse(raw: bytes) -> object:
    """The JSON of a manifest object; raises DamagedError."""
    if too_dense(raw, b",[{", _DENSEST):
        raise DamagedError("its manifest is denser than any list of files: parsing it would take too much memory")
    try:
        return json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"its manifest is no JSON: {error}") from error


def pack_names(record: object) -> Sequence[str]:
    """The packs that a manifest names, without reading what it says about files. Raises DamagedError."""
    try:
        packs = [_pack(value) for value in _list(Members(record), "packs")]
    except ValueError as error:
        raise DamagedError(f"its manifest is malformed: {error}") from error
    return [pack.name for pack in packs if pack.name != INLINE]


def from_json(record: object) -> Manifest:
    """Read what `to_json` wrote; raises DamagedError for anything that could harm or mislead a restore."""
    try:
        members = Members(record)
        packs = [_pack(value) for value in _list(members, "packs")]
        folders = {b""}
        taken: set[bytes] = set()
        nodes: list[Node] = []
        chunks: list[Sequence[Chunk]] = []
        for value in _list(members, "nodes"):
            node, content = _node(Members(value), packs)
            _require_place(node, folders, taken)
            nodes.append(node)
            chunks.append(content)
    except (ValueError, RecursionError, OverflowError) as error:
        raise DamagedError(f"its manifest is malformed: {error}") from error
    return Manifest(nodes, chunks, packs)


def _require_place(node: Node, folders: set[bytes], taken: set[bytes]) -> None:
    """Every node stands in a folder that the manifest named before: never in a link, a file or elsewhere."""
    if (problem := tree.path_problem(node.path)) is not None:
        raise ValueError(f"the path {tree.show(node.path)} {problem}")
    if node.path in taken:
        raise ValueError(f"the path {tree.show(node.path)} stands twice")
    if node.path.rpartition(b"/")[0] not in folders:
        raise ValueError(f"the path {tree.show(node.path)} isn't in a folder of this checkpoint")
    if node.kind is Kind.LINK and (problem := tree.link_problem(node.path, node.target)) is not None:
        raise ValueError(f"the link {tree.show(node.path)} {problem}")
    taken.add(node.path)
    if node.kind is Kind.FOLDER:
        folders.add(node.path)


def _node_to_json(node: Node, chunks: Sequence[Chunk]) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": str(node.kind), **_name_to_json("path", node.path)}
    if node.kind is Kind.LINK:
        return record | _name_to_json("target", node.target)
    record |= {"mode": node.mode, "mtime": list(divmod(node.mtime_ns, _NANO))}
    if node.kind is Kind.FILE:
        record["chunks"] = [
            [chunk.length] if chunk.is_hole else [chunk.pack, chunk.offset, chunk.length, chunk.digest]
            for chunk in chunks
        ]
    return record


def _node(members: Members, packs: Sequence[Pack]) -> tuple[Node, Sequence[Chunk]]:
    kind, path = Kind(members.text("kind")), _name(members, "path")
    if kind is Kind.LINK:
        return Node(path, kind, target=_name(members, "target")), ()
    mode = members.integer("mode", high=tree.PERMISSIONS)
    mtime = _mtime(_list(members, "mtime"))
    if kind is Kind.FOLDER:
        return Node(path, kind, mode, mtime), ()
    chunks = tuple(_chunk(value, packs) for value in _list(members, "chunks"))
    return Node(path, kind, mode, mtime, sum(chunk.length for chunk in chunks)), chunks


def _pack(value: object) -> Pack:
    members = Members(value)
    name = members.text("name")
    if name != INLINE and not keys.is_object_name(name):
        raise ValueError(f"{name!r} is no pack's name")
    return Pack(name, members.integer("size", high=keys.MAX_PACK))


def _chunk(value: object, packs: Sequence[Pack]) -> Chunk:
    if isinstance(value, list) and len(value) == 1:
        return Chunk.hole(_hole_length(value[0]))
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("a chunk is neither [pack, offset, length, blake3] nor [length]")
    pack, offset, length, digest = value
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in (pack, offset, length)):
        raise ValueError("a chunk's place isn't three numbers")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise ValueError("a chunk's hash isn't 64 hexadecimal digits")
    if not 0 <= pack < len(packs) or offset < 0 or length <= 0 or offset + length > packs[pack].size:
        raise ValueError("a chunk lies outside its pack")
    return Chunk(pack, offset, length, digest)


def _hole_length(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_SEQUENCE:
        raise ValueError("the length of a hole isn't a whole number above 0")
    return value


def _mtime(value: Sequence[object]) -> int:
    match value:
        case [int(seconds), int(nanoseconds)] if abs(seconds) < _MAX_SECONDS and 0 <= nanoseconds < _NANO:
            return seconds * _NANO + nanoseconds
        case _:
            raise ValueError("a modification time isn't [seconds, nanoseconds]")


def _list(members: Members, name: str) -> list[Any]:
    value = members.record.get(name)
    if not isinstance(value, list):
        raise ValueError(f"its member {name!r} isn't a list")  # noqa: TRY004 - it is the text that is wrong
    return value


def _name_to_json(member: str, name: bytes) -> dict[str, str]:
    try:
        return {member: name.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{member}64": base64.b64encode(name).decode("ascii")}


def _name(members: Members, member: str) -> bytes:
    if member in members.record:
        return members.text(member).encode("utf-8")
    try:
        return base64.b64decode(members.text(f"{member}64"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its member '{member}64' isn't base64") from error
