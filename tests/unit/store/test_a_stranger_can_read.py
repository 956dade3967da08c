"""docs/format.md is enough to read a store: this reader was written from it and uses nothing of Waypost."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.unit.store.test_folders import fingerprint
from waypost.checkpoints import Checkpoints

PAGE = Path(__file__).parents[3] / "docs" / "format.md"


# --- The stranger's reader -------------------------------------------------------------------------------------------


class DamageError(Exception):
    """Something is missing or wrong."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise DamageError(what)


def read_entry(raw: bytes) -> dict[str, Any]:
    match = re.search(rb',"check":"([0-9a-f]{64})"\}\Z', raw)
    require(match is not None, "no check")
    assert match is not None
    require(blake3(raw[: match.start()]).hexdigest() == match[1].decode(), "wrong check")
    entry: dict[str, Any] = json.loads(raw)
    require(entry["type"] in ("FENCE", "CHECKPOINT", "COMPLETE", "PRUNE", "PIN", "UNPIN", "BASE"), "unknown")
    return entry


def entry_at(store: Path, sequence: int) -> dict[str, Any]:
    path = store / "log" / f"{10**20 - 1 - sequence:020}.json"
    require(path.exists(), "missing entry")
    entry = read_entry(path.read_bytes())
    require(entry["sequence"] == sequence, "another's number")
    return entry


def known(store: Path) -> tuple[dict[str, Any], bool]:
    """The newest entry that can be read, and whether one above it can't; then the newest of a writer."""
    assert json.loads((store / "format.json").read_text())["format"] == 1
    [newest, *_] = sorted(name for name in os.listdir(store / "log") if re.fullmatch(r"\d{20}\.json", name))
    doubtful, found = False, None
    for sequence in range(10**20 - 1 - int(newest[:20]), 0, -1):
        try:
            entry = entry_at(store, sequence)
        except DamageError:
            doubtful = doubtful or found is None
            continue
        found = found or entry
        if entry["type"] in ("FENCE", "CHECKPOINT", "COMPLETE"):
            require(entry["attempt"] < 2**63 - 1, "deleted")
            return found | {"completed": entry["type"] == "COMPLETE"}, doubtful
    raise DamageError("no writer's entry can be read")


def newest_checkpoint_of_scopes(store: Path) -> dict[str, Any]:
    form = r"\d{20}-\d{20}-[0-9a-f]{32}-\d{20}\.json"
    names = sorted(name for name in os.listdir(store / "log") if re.fullmatch(form, name))
    newest = next(name for name in names if int(name[75:95]) != 10**20 - 2)
    says = read_entry((store / "log" / newest).read_bytes())
    sequence = says["live"][-1][1]
    scope = [name for first, name in says["scopes"] if first <= sequence][-1]
    return read_entry((store / "log" / f"{scope}-{10**20 - 1 - sequence:020}.json").read_bytes())


def live_in(ranges: list[list[int]], sequence: int) -> bool:
    return any(first <= sequence <= last for first, last in ranges)


def stranger_restores(store: Path, target: Path) -> int | None:
    """The number of the checkpoint that was restored; None when nothing was saved yet. Raises DamageError."""
    if json.loads((store / "format.json").read_text())["mode"] == "scoped":
        entry = newest_checkpoint_of_scopes(store)
        restore_one(store, entry, target)
        return int(entry["sequence"])
    log, doubtful = known(store)
    live = log["live"]
    require(bool(live) or not doubtful, "perhaps the only checkpoint can't be read")
    sequence = live[-1][1] if live else None
    while sequence is not None:
        try:
            restore_one(store, entry_at(store, sequence), target)
        except DamageError:
            shutil.rmtree(target, ignore_errors=True)
            sequence = ancestor(store, live, sequence)
        else:
            return int(sequence)
    require(not live, "nothing whole is left")
    return None


def ancestor(store: Path, live: list[list[int]], sequence: int) -> int | None:
    while True:
        try:
            parent = entry_at(store, sequence)["parent"]
        except DamageError:
            parent = max((n for first, last in live for n in range(first, last + 1) if n < sequence), default=None)
        if parent is None or isinstance(parent, dict):
            return None
        sequence = parent
        if live_in(live, sequence):
            return sequence


def restore_one(store: Path, entry: dict[str, Any], target: Path) -> None:
    if "manifestObject" in entry:
        reference = entry["manifestObject"]
        raw = (store / "manifests" / reference["name"]).read_bytes()
        assert (len(raw), blake3(raw).hexdigest()) == (reference["size"], reference["blake3"])
        manifest = json.loads(raw)
    else:
        manifest = entry["manifest"]

    def pack(index: int) -> bytes:
        name = manifest["packs"][index]["name"]
        if name == "inline":
            return base64.b64decode(entry["data"])
        require((store / "packs" / name).exists(), "missing pack")
        return bytes((store / "packs" / name).read_bytes())

    def name(node: dict[str, Any], member: str) -> bytes:
        return base64.b64decode(node[f"{member}64"]) if f"{member}64" in node else os.fsencode(node[member])

    os.mkdir(target)
    for node in manifest["nodes"]:
        path = os.path.join(os.fsencode(target), name(node, "path"))
        if node["kind"] == "folder":
            os.mkdir(path)
        elif node["kind"] == "link":
            os.symlink(name(node, "target"), path)
        else:
            with open(path, "wb") as file:
                for chunk in node["chunks"]:
                    if len(chunk) == 1:
                        file.truncate(file.seek(chunk[0], os.SEEK_CUR))
                        continue
                    index, offset, length, digest = chunk
                    data = pack(index)[offset : offset + length]
                    require(blake3(data).hexdigest() == digest, "wrong chunk")
                    file.write(data)
    for node in reversed(manifest["nodes"]):
        if node["kind"] != "link":
            path = os.path.join(os.fsencode(target), name(node, "path"))
            os.utime(path, ns=(0, node["mtime"][0] * 10**9 + node["mtime"][1]))
            os.chmod(path, node["mode"])


# --- What it has to read ---------------------------------------------------------------------------------------------


def test_a_reader_written_from_the_page_restores_what_was_saved(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    (source / "deep" / "empty").mkdir(parents=True)
    (source / "small").write_text("x")
    (source / "large").write_bytes(os.urandom(20_000_000))
    with open(source / "sparse", "wb") as file:
        file.seek(5_000_000)
        file.write(b"data between holes")
        file.truncate(9_000_000)
    (source / "link").symlink_to("deep")
    Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe")).write_bytes(b"odd name")
    os.utime(source / "small", ns=(0, -1_500_000_000))
    with Checkpoints(f"file://{store}", attempt=1) as checkpoints:
        checkpoints.save(b"tiny", step=1, wait=True)
        assert stranger_restores(store, tmp_path / "tiny") == 2
        assert (tmp_path / "tiny" / "_dst_cp").read_bytes() == b"tiny"
        checkpoints.save(source, step=2, wait=True)
    Checkpoints(f"file://{store}", attempt=2).close()
    assert stranger_restores(store, tmp_path / "restored") == 3
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_large_manifest_is_found_too(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    for number in range(1000):
        (source / f"{number}").write_bytes(b"%d" % number)
    with Checkpoints(f"file://{store}", attempt=1) as checkpoints:
        checkpoints.save(source, step=3, wait=True)
    assert stranger_restores(store, tmp_path / "restored") == 2
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_store_without_conditional_writes_is_read_too(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "format.json").write_text('{"waypost": "checkpoint store", "format": 1, "mode": "scoped"}')
    with Checkpoints(f"file://{store}", attempt=1) as checkpoints:
        checkpoints.save(b"one", step=1, wait=True)
        checkpoints.save(os.urandom(100_000), step=2, wait=True)
    Checkpoints(f"file://{store}", attempt=2).close()
    assert stranger_restores(store, tmp_path / "handed on") == 4
    with Checkpoints(f"file://{store}", attempt=3) as checkpoints:
        checkpoints.save(b"three", step=3, wait=True)
    with Checkpoints(f"file://{store}") as reader:
        latest = reader.latest()
    assert latest is not None
    assert stranger_restores(store, tmp_path / "restored") == latest.sequence
    assert (tmp_path / "restored" / "_dst_cp").read_bytes() == b"three"


def test_the_pages_example_is_an_entry() -> None:
    [example] = re.findall(r"^\{\"type\":\"CHECKPOINT\".*\}$", PAGE.read_text(), re.MULTILINE)
    entry = read_entry(example.encode())
    assert base64.b64decode(entry["data"]) == b"hello"
    assert entry["manifest"]["nodes"][0]["chunks"][0][3] == blake3(b"hello").hexdigest()
    from waypost.store.entries import decode

    assert decode(example.encode(), 2).encode() == example.encode(), "and exactly as Waypost writes it"
