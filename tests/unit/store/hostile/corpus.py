"""Stores as an enemy, a bug or a broken disk would leave them, each made from a good one by one change.

The good store has checkpoint 2 (bytes, in its entry) and checkpoint 3 (a folder, in a pack). Entries are written with a
checker of their own: a store has to be exactly as wrong as the case says, whatever Waypost's own code would write.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3

from waypost.checkpoints import Checkpoints

TINY, LARGE = b"tiny", b"large" * 40_000
Json = dict[str, Any]


class Store:
    """A store in a folder, to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, sequence: int) -> Path:
        return self.folder / "log" / f"{10**20 - 1 - sequence:020}.json"

    def entry(self, sequence: int) -> Json:
        found: Json = json.loads(self.key(sequence).read_bytes())
        del found["check"]
        return found

    def put(self, sequence: int, entry: Json) -> Store:
        """Write an entry whose check is right, whatever it says."""
        return self.raw(sequence, json.dumps(entry, separators=(",", ":")))

    def raw(self, sequence: int, body: str | bytes) -> Store:
        """Write an entry from the text of its members, and give it a check that is right."""
        text = (body if isinstance(body, bytes) else body.encode("utf-8")).removesuffix(b"}")
        check = blake3(text).hexdigest().encode("ascii")
        self.key(sequence).write_bytes(text + b',"check":"' + check + b'"}')
        return self

    def change(self, sequence: int, /, **members: Any) -> Store:
        return self.put(sequence, self.entry(sequence) | members)

    def append(self, sequence: int, /, **members: Any) -> Store:
        """A further entry, like the FENCE but for these members."""
        live = self.entry(3)["live"]
        return self.put(sequence, self.entry(1) | {"sequence": sequence, "live": live} | members)

    def nodes(self, *nodes: Json, packs: list[Json] | None = None, size: int | None = None, **members: Any) -> Store:
        """Give checkpoint 3 a manifest of these nodes; `evil!` stands in the entry."""
        manifest = {"packs": [{"name": "inline", "size": 5}] if packs is None else packs, "nodes": list(nodes)}
        total = sum(sum(c[2] if len(c) == 4 else c[0] for c in node.get("chunks", [])) for node in nodes)
        data = base64.b64encode(b"evil!").decode("ascii")
        return self.change(3, manifest=manifest, data=data, size=total if size is None else size, **members)

    def big_manifest(self, raw: bytes, size: int | None = None) -> Store:
        """Let checkpoint 3 name this manifest object."""
        name = f"{1:020}-9-{blake3(raw).hexdigest()}"
        (self.folder / "manifests").mkdir(exist_ok=True)
        (self.folder / "manifests" / name).write_bytes(raw)
        entry = self.entry(3)
        entry.pop("manifest", None)
        reference = {"name": name, "size": len(raw) if size is None else size, "blake3": blake3(raw).hexdigest()}
        return self.put(3, entry | {"manifestObject": reference})

    def without_pack(self) -> Store:
        self.pack.unlink()
        return self

    @property
    def pack(self) -> Path:
        [pack] = (self.folder / "packs").iterdir()
        return pack


def good(folder: Path) -> Store:
    """The store that the cases spoil."""
    source = folder.parent / f"{folder.name}-source"
    (source / "a").mkdir(parents=True)
    (source / "large").write_bytes(LARGE)
    (source / "a" / "x").write_text("x")
    with Checkpoints(folder.as_uri(), attempt=1) as store:
        store.save(TINY, step=1, wait=True)
        store.save(source, step=2, wait=True)
    shutil.rmtree(source)
    return Store(folder)


CHUNK = [0, 0, 5, blake3(b"evil!").hexdigest()]


def file(path: str = "f", **members: Any) -> Json:
    return {"kind": "file", "path": path, "mode": 0o644, "mtime": [0, 0], "chunks": [CHUNK], **members}


def folder(path: str) -> Json:
    return {"kind": "folder", "path": path, "mode": 0o755, "mtime": [0, 0]}


def link(path: str, target: str) -> Json:
    return {"kind": "link", "path": path, "target": target}


def base64_path(path: bytes) -> Json:
    node = file()
    del node["path"]
    return node | {"path64": base64.b64encode(path).decode("ascii")}


def deep(opening: str, closing: str, depth: int) -> str:
    return opening * depth + closing * depth


# What a reader gets, and what an attempt gets that opens the store and restores: a number of a checkpoint, or an error.
# One word for both where they are the same.
Spoil = Callable[[Store], object]
CORRUPT, STORAGE, DELETED, REFUSED = (
    "CorruptCheckpointError",
    "StorageError",
    "StoreDeletedError",
    "AttemptRefusedError",
)
CONFIGURATION, COMPLETED = "ConfigurationError", "CompletedError"

CASES: dict[str, tuple[Spoil, str | tuple[str, str]]] = {
    "the good one": (lambda s: None, "3"),
    # --- Manifests that lead elsewhere ----------------------------------------------------------------------------
    "absolute path": (lambda s: s.nodes(file("/etc/cron.d/evil")), "2"),
    "path of the outside": (lambda s: s.nodes(file("../../outside/canary")), "2"),
    "path that climbs inside": (lambda s: s.nodes(folder("a"), file("a/../../outside/canary")), "2"),
    "path in base64 that climbs": (lambda s: s.nodes(base64_path(b"../outside/canary")), "2"),
    "path with a NUL": (lambda s: s.nodes(file("a\0b")), "2"),
    "path through a link to the outside": (lambda s: s.nodes(link("a", "../outside"), file("a/canary")), "2"),
    "path through a link to itself": (lambda s: s.nodes(link("a", "."), file("a/f")), "2"),
    "absolute link": (lambda s: s.nodes(link("l", "/etc/passwd"), size=0), "2"),
    "link that climbs": (lambda s: s.nodes(link("l", "../outside/canary"), size=0), "2"),
    "link that climbs behind a name": (lambda s: s.nodes(folder("a"), link("l", "a/../../outside"), size=0), "2"),
    "file over a link": (lambda s: s.nodes(link("f", "g"), file("f")), "2"),
    "link to a file that is written later": (lambda s: s.nodes(link("l", "f"), file("f")), "3"),
    "set-uid": (lambda s: s.nodes(file(mode=0o4755)), "2"),
    "device": (lambda s: s.nodes({**file(), "kind": "device"}), "2"),
    "a name like our own unfinished folder": (
        lambda s: s.nodes(folder(".waypost-unfinished-x"), folder(".waypost-unfinished-x/replaced"), size=0),
        "3",
    ),
    "pack of another folder": (lambda s: s.nodes(file(), packs=[{"name": "../log/x", "size": 5}]), "2"),
    "manifest of another folder": (
        lambda s: drop(s, manifestObject={"name": "../format.json", "size": 1}),
        "2",
    ),
    # --- Sizes ----------------------------------------------------------------------------------------------------
    "enormous chunk": (lambda s: s.nodes(file(chunks=[[0, 0, 2**62, CHUNK[3]]])), "2"),
    "enormous pack": (lambda s: s.nodes(file(), packs=[{"name": "inline", "size": 2**62}]), "2"),
    "enormous entry": (lambda s: s.key(3).write_bytes(b"x" * (1 << 21)), "2"),
    "enormous size": (lambda s: s.nodes(file(), size=2**62), "2"),
    "enormous size beyond 64 bits": (lambda s: s.nodes(file(), size=10**30), "2"),
    "enormous manifest declared": (lambda s: s.big_manifest(b'{"packs":[],"nodes":[]}', 2**50), "2"),
    "enormous hole": (lambda s: s.nodes(file(chunks=[[2**62]])), STORAGE),
    "more holes than 64 bits": (lambda s: s.nodes(file(chunks=[[2**62]] * 4), size=0), "2"),
    "one chunk a hundred thousand times": (
        lambda s: s.big_manifest(manifest_of(file(chunks=[CHUNK] * 100_000)), None),
        "2",
    ),
    "manifest of nothing but brackets": (lambda s: s.big_manifest(b"[" + b"[]," * 5_000_000 + b"[]]"), "2"),
    "manifest of nothing but numbers": (lambda s: s.big_manifest(b"[" + b"1," * 7_000_000 + b"1]"), "2"),
    "manifest that is deep": (lambda s: s.big_manifest(deep("[", "]", 5_000_000).encode()), "2"),
    "metadata that are deep": (lambda s: s.raw(3, member(s, 3, "metadata", deep('{"a":', "}", 100_000))), "2"),
    "number of a million digits": (lambda s: s.raw(3, member(s, 3, "step", "9" * 900_000)), "2"),
    "number of 4000 digits": (lambda s: s.raw(3, member(s, 3, "step", "9" * 4000)), "2"),
    "metric of 4000 digits": (lambda s: s.change(3, metrics={"loss": int("9" * 4000)}), "2"),
    "time of the year 99999": (lambda s: s.change(3, time="99999-01-01T00:00:00Z"), "2"),
    "time without a zone": (lambda s: s.change(3, time="2026-01-01T00:00:00"), "2"),
    # --- Wrong bytes ----------------------------------------------------------------------------------------------
    "pack with another content": (lambda s: s.pack.write_bytes(LARGE[::-1] + b"x"), "2"),
    "pack that is cut": (lambda s: os.truncate(s.pack, 10), "2"),
    "pack that is empty": (lambda s: os.truncate(s.pack, 0), "2"),
    "pack that is gone": (lambda s: s.pack.unlink(), "2"),
    "wrong check": (lambda s: s.key(3).write_bytes(s.key(3).read_bytes().replace(b'"step":2', b'"step":9')), "2"),
    "no check": (lambda s: s.key(3).write_text(json.dumps(s.entry(3))), "2"),
    "check of capital letters": (lambda s: upper(s.key(3)), "2"),
    "empty entry": (lambda s: s.key(3).write_bytes(b""), "2"),
    "no JSON": (lambda s: s.raw(3, '{"type":"CHECKPOINT",,}'), "2"),
    "no object": (lambda s: s.raw(3, "[1,2,3"), "2"),
    "not ASCII": (lambda s: s.raw(3, '{"type":"CHECKPÖINT"}'), "2"),
    "zeros": (lambda s: s.key(3).write_bytes(bytes(4096)), "2"),
    "two members of one name": (lambda s: s.raw(3, json.dumps(s.entry(3))[:-1] + ',"live":[[1,9]]'), "2"),
    "NaN as a step": (lambda s: s.raw(3, member(s, 3, "step", "NaN")), "2"),
    # --- The log --------------------------------------------------------------------------------------------------
    "entry with another's number": (lambda s: s.change(3, sequence=7), "2"),
    "entry with number 0": (lambda s: s.change(3, sequence=0), "2"),
    "two entries changed places": (lambda s: swap(s.key(2), s.key(3)), CORRUPT),
    "live that comes later": (lambda s: s.change(3, live=[[2, 9]]), "2"),
    "live that never was": (lambda s: s.change(3, live=[[1, 3]]), "3"),
    "live that isn't sorted": (lambda s: s.change(3, live=[[3, 3], [2, 2]]), "2"),
    "live upside down": (lambda s: s.change(3, live=[[3, 2]]), "2"),
    "live of 2^60 that aren't there": (lambda s: s.append(2**60, live=[[4, 2**60]], fence=2**60), CORRUPT),
    "parent that comes later": (lambda s: s.change(3, parent=4), "2"),
    "parent of itself": (lambda s: s.change(3, parent=3), "2"),
    "parent that is a FENCE, behind damage": (lambda s: s.change(3, parent=1).without_pack(), CORRUPT),
    "parent that never was, behind damage": (lambda s: s.append(9).change(3, parent=2).without_pack(), "2"),
    "parent in a store nobody knows, behind damage": (
        lambda s: s.change(3, parent={"uri": "nowhere://x", "sequence": 3}).without_pack(),
        CORRUPT,
    ),
    "parent of no shape": (lambda s: s.change(3, parent=["x"]), "2"),
    "type of the future": (lambda s: s.append(4, type="TELEPORT"), "3"),
    "type that is a list": (lambda s: s.append(4, type=["FENCE"]), "3"),
    "members of the future": (lambda s: s.change(3, future={"a": [1]}, more="x"), "3"),
    "manifest members of the future": (lambda s: s.nodes(file(owner="root"), checksums={}), "3"),
    "fence of a deleted store": (lambda s: s.append(4, attempt=2**63 - 1, fence=4), DELETED),
    "fence of the highest attempt": (lambda s: s.append(4, attempt=2**63 - 2, fence=4), ("3", REFUSED)),
    "attempt beyond 64 bits": (lambda s: s.append(4, attempt=2**70, fence=4), "3"),
    "negative attempt": (lambda s: s.append(4, attempt=-1, fence=4), "3"),
    "end of the log": (lambda s: s.append(4, type="COMPLETE", fence=1), ("3", COMPLETED)),
    "last number there is": (lambda s: s.append(2**63 - 1, fence=2**63 - 1), ("3", CORRUPT)),
    "number beyond the last there is": (lambda s: (s.folder / "log" / f"{0:020}.json").write_bytes(b"x"), "3"),
    "strangers in the log": (lambda s: strangers(s.folder / "log"), "3"),
    "no readable entry at all": (lambda s: [s.key(n).write_bytes(b"?") for n in (1, 2, 3)], CORRUPT),
    "nothing but a FENCE is left": (lambda s: [s.key(n).write_bytes(b"?") for n in (2, 3)], CORRUPT),
    # --- format.json ----------------------------------------------------------------------------------------------
    "format of the future": (lambda s: form(s, '{"format": 2, "mode": "conditional"}'), CONFIGURATION),
    "mode of the future": (lambda s: form(s, '{"format": 1, "mode": "telepathic"}'), CONFIGURATION),
    "no format": (lambda s: (s.folder / "format.json").unlink(), ("3", STORAGE)),
    "format that is no JSON": (lambda s: form(s, "?"), STORAGE),
    "format that is a list": (lambda s: form(s, "[]"), STORAGE),
    "format that is deep": (lambda s: form(s, deep("[", "]", 20_000)), STORAGE),
    "enormous format": (lambda s: form(s, "x" * 10**6), STORAGE),
    # --- Files that are none --------------------------------------------------------------------------------------
    "entry that is a pipe": (lambda s: pipe(s.key(3)), STORAGE),
    "entry that is a folder": (lambda s: s.key(4).mkdir(), ("3", STORAGE)),
    "entry that is an endless file": (lambda s: relink(s.key(3), "/dev/zero"), STORAGE),
    "entry that is a link to the outside": (lambda s: relink(s.key(3), "../../outside/canary"), "2"),
    "pack that is a pipe": (lambda s: pipe(s.pack), STORAGE),
    "pack that is a link to the outside": (lambda s: relink(s.pack, "../../outside/canary"), "2"),
    "log that is a link to the outside": (lambda s: outside(s, "log"), ("3", STORAGE)),
    "temporary folder that is a link to the outside": (lambda s: outside(s, ".tmp", moved=False), ("3", STORAGE)),
}


def drop(store: Store, **members: Any) -> None:
    """Checkpoint 3 without its manifest, and with these members."""
    entry = store.entry(3)
    del entry["manifest"]
    store.put(3, entry | members)


def member(store: Store, sequence: int, name: str, text: str) -> str:
    """The text of an entry whose member is this text, which need not be what Python would write."""
    return json.dumps(store.entry(sequence) | {name: "@@"}).replace('"@@"', text)


def manifest_of(*nodes: Json) -> bytes:
    return json.dumps({"packs": [{"name": "inline", "size": 5}], "nodes": nodes}, separators=(",", ":")).encode()


def upper(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-66] + raw[-66:].upper())


def swap(one: Path, other: Path) -> None:
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)


def strangers(log: Path) -> None:
    for name in ("passwd", "...json", "0.json", "x" * 200, f"{'9' * 19}.json", f"{'9' * 20}.json.tmp", " "):
        (log / name).write_text("?")
    (log / os.fsdecode(b"\xff")).write_text("?")


def form(store: Store, text: str) -> None:
    (store.folder / "format.json").write_text(text)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def outside(store: Store, name: str, *, moved: bool = True) -> None:
    """One of the store's own folders is a link to a folder next to the canary."""
    place, elsewhere = store.folder / name, store.folder.parent / "outside" / "folder"
    if moved:
        for path in place.iterdir():
            shutil.copy(path, elsewhere)
    shutil.rmtree(place)
    place.symlink_to(elsewhere)
