"""A manifest may have been written by an enemy: nothing it says leads a restore astray."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.stepped import Process, SteppedBackend
from waypost.checkpoints import Checkpoints
from waypost.errors import CorruptCheckpointError
from waypost.store import keys, manifest
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint

DIGEST = blake3(b"evil!").hexdigest()
CHUNK = [0, 0, 5, DIGEST]


def file(path: object = "f", **changes: object) -> dict[str, object]:
    return {"kind": "file", "path": path, "mode": 0o644, "mtime": [0, 0], "chunks": [CHUNK], **changes}


def folder(path: str) -> dict[str, object]:
    return {"kind": "folder", "path": path, "mode": 0o755, "mtime": [0, 0]}


def link(path: str, target: str) -> dict[str, object]:
    return {"kind": "link", "path": path, "target": target}


def tree(*nodes: dict[str, object], packs: object = None) -> dict[str, Any]:
    return {"packs": [{"name": "inline", "size": 5}] if packs is None else packs, "nodes": list(nodes)}


def test_the_plain_manifest_of_these_tests_is_accepted() -> None:
    found = manifest.from_json(tree(folder("a"), file("a/f"), link("l", "a/f")))
    assert [node.path for node in found.nodes] == [b"a", b"a/f", b"l"]


HOSTILE = {
    "absolute path": tree(file("/etc/passwd")),
    "climbing path": tree(file("../f")),
    "climbing inside": tree(folder("a"), file("a/../../f")),
    "dot": tree(file("./f")),
    "empty path": tree(file("")),
    "empty part": tree(folder("a"), file("a//f")),
    "NUL": tree(file("a\0b")),
    "long name": tree(file("x" * 256)),
    "long path": tree(*[folder("/".join(["x" * 200] * depth)) for depth in range(1, 25)]),
    "surrogate": tree(file("\udcff")),
    "bad base64": tree({**file(), "path": ...} | {"path64": "%%%"}),
    "through a link": tree(link("a", "."), file("a/f")),
    "through an escaping link": tree(link("a", "/etc"), file("a/passwd")),
    "into a file": tree(file("a"), file("a/f")),
    "before its folder": tree(file("a/f"), folder("a")),
    "twice": tree(file("f"), file("f")),
    "link over file": tree(file("f"), link("f", "g")),
    "absolute link": tree(link("l", "/etc/passwd")),
    "climbing link": tree(link("l", "../x")),
    "link climbing behind a name": tree(folder("a"), link("l", "a/../../x")),
    "empty link": tree(link("l", "")),
    "unknown kind": tree({**file(), "kind": "device"}),
    "set-uid": tree(file(mode=0o4755)),
    "negative mode": tree(file(mode=-1)),
    "no time": tree(file(mtime=[])),
    "absurd time": tree(file(mtime=[2**63, 0])),
    "nanoseconds beyond a second": tree(file(mtime=[0, 10**9])),
    "chunk outside its pack": tree(file(chunks=[[0, 1, 5, DIGEST]])),
    "negative offset": tree(file(chunks=[[0, -1, 5, DIGEST]])),
    "enormous chunk": tree(file(chunks=[[0, 0, 2**62, DIGEST]])),
    "empty chunk": tree(file(chunks=[[0, 0, 0, DIGEST]])),
    "no such pack": tree(file(chunks=[[1, 0, 5, DIGEST]])),
    "negative pack": tree(file(chunks=[[-1, 0, 5, DIGEST]])),
    "no hash": tree(file(chunks=[[0, 0, 5, "x"]])),
    "chunk that is no list": tree(file(chunks=["x"])),
    "chunk of truths": tree(file(chunks=[[False, False, True, DIGEST]])),
    "enormous pack": tree(packs=[{"name": "inline", "size": 2**40}]),
    "pack elsewhere": tree(packs=[{"name": "../log/x", "size": 5}]),
    "nodes that are no list": {"packs": [], "nodes": {}},
    "packs missing": {"nodes": []},
    "node that is no object": {"packs": [], "nodes": ["f"]},
}


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_manifest_is_damage(record: dict[str, Any]) -> None:
    for node in record["nodes"] if isinstance(record.get("nodes"), list) else ():
        if isinstance(node, dict) and node.get("path") is ...:
            del node["path"]
    with pytest.raises(DamagedError):
        manifest.from_json(record)


@pytest.mark.parametrize("name", ["absolute path", "climbing path", "through an escaping link", "enormous chunk"])
def test_a_hostile_checkpoint_writes_nothing_anywhere(name: str, tmp_path: Path) -> None:
    backend = SteppedBackend()
    Process(backend).save(b"good!")
    entry = backend.entry(2)
    assert isinstance(entry, Checkpoint)
    backend.rewrite(2, manifest=HOSTILE[name], data=b"evil!", size=5)
    target = tmp_path / "inner" / "target"
    with Checkpoints(backend=backend, attempt=None) as reader, pytest.raises(CorruptCheckpointError):
        reader.restore(target)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_manifest_that_repeats_one_chunk_can_not_fill_the_disk(tmp_path: Path) -> None:
    """Its sizes have to add up to what the entry says, and that has to fit on the disk."""
    backend = SteppedBackend()
    Process(backend).save(b"good!")
    bomb = tree(*[file(f"f{number}", chunks=[CHUNK] * 100) for number in range(50)])
    backend.rewrite(2, manifest=bomb, data=b"evil!", size=5)
    with Checkpoints(backend=backend, attempt=None) as reader, pytest.raises(CorruptCheckpointError):
        reader.restore(tmp_path / "target")
    assert os.listdir(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_anything_at_all_is_a_manifest_or_damage(record: object) -> None:
    try:
        manifest.from_json(record)
    except DamagedError:
        return


@given(st.dictionaries(st.sampled_from(["kind", "path", "mode", "mtime", "chunks", "target", "path64"]), json_values))
def test_any_change_of_a_node_is_a_manifest_or_damage(changes: dict[str, object]) -> None:
    try:
        manifest.from_json(tree(file() | changes))
    except DamagedError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_damage(raw: bytes) -> None:
    with pytest.raises(DamagedError):
        manifest.decode(raw)


def test_a_large_list_of_files_stands_outside_its_entry(tmp_path: Path) -> None:
    backend = SteppedBackend()
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1500):
        (source / f"{number}").write_bytes(b"%d" % number)
    with Checkpoints(backend=backend, attempt=1) as store:
        store.save(source, wait=True)
        [name] = [key for key in backend.objects if key.startswith(keys.MANIFESTS)]
        assert len(backend.objects[keys.log_key(2)]) < 2000
        store.restore(tmp_path / "restored")
        assert len(os.listdir(tmp_path / "restored")) == 1500
        backend.corrupt(name)
        with pytest.raises(CorruptCheckpointError, match=r"manifest .* doesn't have the content"):
            store.restore(tmp_path / "restored")


def test_a_manifest_of_one_long_text_takes_no_more_than_a_few_times_its_size() -> None:
    raw = b'["' + b"x" * 4 * keys.MIB + b'"]'
    tracemalloc.start()
    try:
        manifest.parse(raw)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(raw)
    finally:
        tracemalloc.stop()
