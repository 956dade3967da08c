"""docs/format.md is enough to read a store: this reader was written from it and uses nothing of Waypost."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.unit.store.test_folders import fingerprint
from waypost.checkpoints import Checkpoints

PAGE = Path(__file__).parents[3] / "docs" / "format.md"


# --- The stranger's reader -------------------------------------------------------------------------------------------


def read_entry(raw: bytes) -> dict[str, Any]:
    match = re.search(rb',"check":"([0-9a-f]{64})"\}\Z', raw)
    assert match is not None
    assert blake3(raw[: match.start()]).hexdigest() == match[1].decode()
    entry: dict[str, Any] = json.loads(raw)
    return entry


def entry_at(store: Path, sequence: int) -> dict[str, Any]:
    entry = read_entry((store / "log" / f"{10**20 - 1 - sequence:020}.json").read_bytes())
    assert entry["sequence"] == sequence
    return entry


def newest_checkpoint(store: Path) -> dict[str, Any]:
    [newest, *_] = sorted(name for name in os.listdir(store / "log") if re.fullmatch(r"\d{20}\.json", name))
    live = entry_at(store, 10**20 - 1 - int(newest[:20]))["live"]
    return entry_at(store, live[-1][1])


def newest_checkpoint_of_scopes(store: Path) -> dict[str, Any]:
    form = r"\d{20}-\d{20}-[0-9a-f]{32}-\d{20}\.json"
    names = sorted(name for name in os.listdir(store / "log") if re.fullmatch(form, name))
    newest = next(name for name in names if int(name[75:95]) != 10**20 - 2)
    says = read_entry((store / "log" / newest).read_bytes())
    sequence = says["live"][-1][1]
    scope = [name for first, name in says["scopes"] if first <= sequence][-1]
    return read_entry((store / "log" / f"{scope}-{10**20 - 1 - sequence:020}.json").read_bytes())


def stranger_restores(store: Path, target: Path) -> int:
    record = json.loads((store / "format.json").read_text())
    assert record["format"] == 1
    entry = newest_checkpoint(store) if record["mode"] == "conditional" else newest_checkpoint_of_scopes(store)
    if "manifestObject" in entry:
        reference = entry["manifestObject"]
        raw = (store / "manifests" / reference["name"]).read_bytes()
        assert (len(raw), blake3(raw).hexdigest()) == (reference["size"], reference["blake3"])
        manifest = json.loads(raw)
    else:
        manifest = entry["manifest"]

    def pack(index: int) -> bytes:
        name = manifest["packs"][index]["name"]
        return base64.b64decode(entry["data"]) if name == "inline" else (store / "packs" / name).read_bytes()

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
                    assert blake3(data).hexdigest() == digest
                    file.write(data)
    for node in reversed(manifest["nodes"]):
        if node["kind"] != "link":
            path = os.path.join(os.fsencode(target), name(node, "path"))
            os.utime(path, ns=(0, node["mtime"][0] * 10**9 + node["mtime"][1]))
            os.chmod(path, node["mode"])
    step: int = entry["step"]
    return step


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
        assert stranger_restores(store, tmp_path / "tiny") == 1
        assert (tmp_path / "tiny" / "_dst_cp").read_bytes() == b"tiny"
        checkpoints.save(source, step=2, wait=True)
    Checkpoints(f"file://{store}", attempt=2).close()
    assert stranger_restores(store, tmp_path / "restored") == 2
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_large_manifest_is_found_too(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    for number in range(1000):
        (source / f"{number}").write_bytes(b"%d" % number)
    with Checkpoints(f"file://{store}", attempt=1) as checkpoints:
        checkpoints.save(source, step=3, wait=True)
    assert stranger_restores(store, tmp_path / "restored") == 3
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_store_without_conditional_writes_is_read_too(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "format.json").write_text('{"waypost": "checkpoint store", "format": 1, "mode": "scoped"}')
    with Checkpoints(f"file://{store}", attempt=1) as checkpoints:
        checkpoints.save(b"one", step=1, wait=True)
        checkpoints.save(os.urandom(100_000), step=2, wait=True)
    Checkpoints(f"file://{store}", attempt=2).close()
    assert stranger_restores(store, tmp_path / "handed on") == 2
    with Checkpoints(f"file://{store}", attempt=3) as checkpoints:
        checkpoints.save(b"three", step=3, wait=True)
    assert stranger_restores(store, tmp_path / "restored") == 3
    assert (tmp_path / "restored" / "_dst_cp").read_bytes() == b"three"


def test_the_pages_example_is_an_entry() -> None:
    [example] = re.findall(r"^\{\"type\":\"CHECKPOINT\".*\}$", PAGE.read_text(), re.MULTILINE)
    entry = read_entry(example.encode())
    assert base64.b64decode(entry["data"]) == b"hello"
    assert entry["manifest"]["nodes"][0]["chunks"][0][3] == blake3(b"hello").hexdigest()
    from waypost.store.entries import decode

    assert decode(example.encode(), 2).encode() == example.encode(), "and exactly as Waypost writes it"
