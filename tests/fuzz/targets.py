"""What is fuzzed: each target takes bytes, and raises only when something is wrong with Waypost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from blake3 import blake3

from waypost.backends.opening import canonical_uri
from waypost.backends.protocol import AbsentError, Take, TooLargeError
from waypost.contract import Document
from waypost.errors import ConfigurationError, CorruptCheckpointError, StorageError, StoreDeletedError
from waypost.state import safetensors, structure
from waypost.state.restoring import read_state
from waypost.state.saving import STATE_NAME, STRUCTURE
from waypost.store import keys, manifest
from waypost.store.calls import Budget, Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.damage import DamagedError, UnreadableEntryError
from waypost.store.entries import Checkpoint, decode
from waypost.store.fetching import read_pieces
from waypost.store.format import journal_of, known_mode
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading
from waypost.store.scopes import placed
from waypost.store.seams import InTurn, Seams
from waypost.store.start_point import parse

MOST_BYTES: Final = 64 * keys.KIB
"""What is assembled of one restore: inputs are small, but may declare much."""
MOST_SAID: Final = 2000
"""Characters of an error's text: an enemy's names are told by their beginning."""


class Objects:
    """A place in memory, only to be read."""

    uri = "fuzz://store"

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get(self, key: str, limit: int) -> bytes:
        if key not in self.objects:
            raise AbsentError(key)
        if len(self.objects[key]) > limit:
            raise TooLargeError(key)
        return self.objects[key]

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        take(memoryview(self.get(key, keys.MAX_PACK))[start : start + length])

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix) and key > start_after)[:limit]

    def put_new(self, key: str, data: bytes) -> None:
        raise AssertionError(f"a reader wrote {key}")

    def put(self, key: str, data: bytes | memoryview) -> None:
        raise AssertionError(f"a reader wrote {key}")

    def delete(self, key: str) -> None:
        raise AssertionError(f"a reader removed {key}")

    def close(self) -> None:
        pass


def checked(body: bytes) -> bytes:
    """An entry whose check is right, whatever it says."""
    body = body.removesuffix(b"}")
    return body + b',"check":"' + blake3(body).hexdigest().encode("ascii") + b'"}'


def entry(data: bytes) -> None:
    """Reading an entry; one that is read is written as it was read."""
    try:
        found = decode(checked(data), 3)
    except UnreadableEntryError:
        return
    again = decode(found.encode(), 3)
    assert again.encode() == found.encode()


def a_manifest(data: bytes) -> None:
    """Reading a manifest; one that is read is written as it was read, and names nothing outside."""
    try:
        found = manifest.decode(data)
    except DamagedError:
        return
    assert manifest.from_json(found.to_json()) == found
    for node in found.nodes:
        assert not node.path.startswith(b"/")
        assert b".." not in node.path.split(b"/")


def a_store(data: bytes) -> None:
    """Restoring, from a store whose newest entry says this."""
    objects = {
        keys.log_key(1): SEED_FENCE,
        keys.log_key(2): SEED_TINY,
        keys.log_key(3): checked(data),
        keys.PACKS + PACK_NAME: PACK,
    }
    calls = Calls(
        Objects(objects), Seams(sleep=lambda seconds: None, pool=lambda most, name: InTurn()), Budget(seconds=0)
    )

    def take(found: Checkpoint, listed: Manifest) -> None:
        if listed.written <= MOST_BYTES:
            lengths: list[int] = []
            read_pieces(calls, found, listed, lambda piece: lengths.append(len(piece.data)))
            assert sum(lengths) == listed.written

    reading = Reading(ConditionalJournal(calls))
    try:
        reading.deliver(take)
    except (CorruptCheckpointError, StoreDeletedError):
        return


def _require_short(error: Exception) -> None:
    assert len(str(error)) < MOST_SAID


def a_header(data: bytes) -> None:
    """Reading the header of a state; one that is read places each tensor behind the one before it, up to the end."""
    size = safetensors.LENGTH + len(data) + len(PACK)
    try:
        tensors, _ = safetensors.read_header(data, size)
    except DamagedError as damage:
        _require_short(damage)
        return
    assert [tensor.start for tensor in tensors[1:]] == [tensor.end for tensor in tensors[:-1]]
    assert all(0 <= tensor.start <= tensor.end <= size for tensor in tensors)


def a_structure(data: bytes) -> None:
    """Reading the structure of a state; one that is read is written as it was read, and is built of what it names."""
    text = data.decode("utf-8", "replace")
    try:
        form = structure.decode(text, {"a", "b"})
    except DamagedError as damage:
        _require_short(damage)
        return
    names = {leaf.name for leaf in structure.leaves_of(form)}
    built: set[str] = set()
    structure.build(form, lambda leaf: built.add(leaf.name))
    assert built == names
    assert structure.select(form, []) == {"map": []}


def a_state(data: bytes) -> None:
    """Restoring a state whose header is this, or whose structure."""
    for header in (data, _header(data.decode("utf-8", "replace"))):
        content = len(header).to_bytes(safetensors.LENGTH, "little") + header + PACK
        objects = {keys.PACKS + PACK_NAME: content}
        calls = Calls(
            Objects(objects), Seams(sleep=lambda seconds: None, pool=lambda most, name: InTurn()), Budget(seconds=0)
        )
        chunk = [0, 0, len(content), blake3(content).hexdigest()]
        node = {"kind": "file", "path": STATE_NAME.decode(), "mode": 420, "mtime": [0, 0], "chunks": [chunk]}
        listed = manifest.from_json({"packs": [{"name": PACK_NAME, "size": len(content)}], "nodes": [node]})
        found = decode(SEED_TINY, 2)
        assert isinstance(found, Checkpoint)
        for into, library in ((None, "plain"), (None, None), ({"a": bytearray(4)}, None)):
            try:
                read_state(calls, found, listed, into, None, library)  # type: ignore[arg-type]
            except (DamagedError, ConfigurationError) as error:
                _require_short(error)


def _header(text: str) -> bytes:
    """Of a state of this structure, with the tensors `a` and `b`."""
    tensors = {
        "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
        "b": {"dtype": "I16", "shape": [3, 1], "data_offsets": [4, 10]},
    }
    return json.dumps({"__metadata__": {STRUCTURE: text}, **tensors}).encode()


def a_format(data: bytes) -> None:
    """Reading format.json, and a log under whatever it says."""
    calls = Calls(
        Objects({keys.FORMAT_KEY: data}),
        Seams(sleep=lambda seconds: None, pool=lambda most, name: InTurn()),
        Budget(seconds=0),
    )
    try:
        assert journal_of(known_mode(calls), calls).survey().last_seen == 0
    except (ConfigurationError, StorageError):
        return


def document(data: bytes) -> None:
    """Reading a termination message; one that is read is written as it was read, as far as it fits."""
    found = Document.parse(data)
    if found is not None and found.message is None and found.result is None and len(found.reason or "") < 100:
        assert Document.parse(found.encode()) == found


def names(data: bytes) -> None:
    """Keys, URIs and start points."""
    text = data.decode("utf-8", "surrogateescape")
    placed(text)
    keys.log_sequence(text)
    for reader in (canonical_uri, parse):
        try:
            reader(text)
        except ConfigurationError:
            continue


def _entry(kind: str, **members: Any) -> bytes:
    record = {"type": kind, "sequence": 3, "attempt": 1, "fence": 1, "nonce": "n", "time": "2026-01-01T00:00:00Z"}
    return json.dumps(record | {"live": [[2, 3]], "pinned": []} | members, separators=(",", ":")).encode()


PACK: Final = b"0123456789"
PACK_NAME: Final = keys.object_name(1, 1, blake3(PACK).hexdigest())
_CHUNKS: Final = [[0, 0, 4, blake3(PACK[:4]).hexdigest()], [6], [0, 4, 6, blake3(PACK[4:]).hexdigest()]]
_MANIFEST: Final = {
    "packs": [{"name": PACK_NAME, "size": 10}],
    "nodes": [
        {"kind": "folder", "path": "a", "mode": 493, "mtime": [1, 2]},
        {"kind": "file", "path": "a/f", "mode": 420, "mtime": [-1, 2], "chunks": _CHUNKS},
        {"kind": "link", "path64": base64.b64encode(b"\xff").decode(), "target": "a/f"},
    ],
}
_CHECKPOINT: Final = {"step": 5, "metrics": {"loss": 0.5, "x": "NaN"}, "metadata": {"k": [1]}, "parent": 2, "size": 16}
SEED_FENCE: Final = checked(_entry("FENCE", sequence=1, live=[], pod="p"))
SEED_TINY: Final = checked(
    _entry(
        "CHECKPOINT",
        **_CHECKPOINT
        | {
            "sequence": 2,
            "live": [[2, 2]],
            "parent": None,
            "size": 10,
            "manifest": {
                "packs": [{"name": "inline", "size": 10}],
                "nodes": [
                    {
                        "kind": "file",
                        "path": "f",
                        "mode": 420,
                        "mtime": [0, 0],
                        "chunks": [[0, 0, 10, blake3(PACK).hexdigest()]],
                    }
                ],
            },
            "data": base64.b64encode(PACK).decode(),
        },
    )
)


_FORM: Final = json.dumps(
    {
        "map": [
            ["x", {"tensor": "a", "of": "bytes"}],
            ["w", {"tensor": "b", "of": "numpy"}],
            ["y", {"map": [[7, {"tensor": "b", "of": "plain"}], ["z", [1, None, {"float": "nan"}, {"tuple": []}]]]}],
        ]
    }
)


def seeds() -> Iterator[bytes]:
    """Good inputs to begin with, for every target."""
    yield _entry("FENCE", fence=3, pod=None)
    yield _entry("CHECKPOINT", **_CHECKPOINT, manifest=_MANIFEST)
    reference = {"name": PACK_NAME, "size": 10, "blake3": blake3(PACK).hexdigest()}
    yield _entry("CHECKPOINT", **_CHECKPOINT, manifestObject=reference)
    yield _entry("CHECKPOINT", **_CHECKPOINT | {"parent": {"uri": "s3://b/x", "sequence": 7}}, stub=True)
    yield _entry("COMPLETE")
    yield _entry("PRUNE", prunes=[[1, 2]])
    yield _entry("PIN", target=2)
    yield json.dumps(_MANIFEST).encode()
    yield _header(_FORM)
    yield _FORM.encode()
    yield b'{"format": 1, "mode": "conditional"}'
    yield b'{"format": 1, "mode": "scoped"}'
    yield Document(3, 4, stop_requested=True, highest_attempt=9).encode()
    yield b"s3://bucket/prefix/#12"
    yield keys.log_key(5).encode()


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "entry": entry,
    "manifest": a_manifest,
    "store": a_store,
    "header": a_header,
    "structure": a_structure,
    "state": a_state,
    "format": a_format,
    "document": document,
    "names": names,
}
