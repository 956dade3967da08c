"""A state may have been written by anybody: each wrong gives its stated answer, soon, and in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.unit.store.hostile.corpus import Store
from waypost.checkpoints import Checkpoints

pytestmark = pytest.mark.deep

VICTIM = Path(__file__).with_name("hostile_victim.py")
ALLOWED_MIB = 230
"""For the interpreter, a header of 5 or 10 MB, and what is parsed of it."""
LARGE = 5_000_000
MIB = 1 << 20


def file_of(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def tensor(dtype: object = "U8", shape: object = (4,), place: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def state(form: object, data: bytes = b"data", **tensors: object) -> bytes:
    text = form if isinstance(form, str) else json.dumps(form)
    header = {"__metadata__": {"waypost.state": text}, **(tensors or {"a": tensor()})}
    return file_of(json.dumps(header).encode(), data)


def many(item: bytes, size: int = LARGE) -> bytes:
    return b",".join([item] * (size // (len(item) + 1)))


def members(size: int = 2 * LARGE) -> bytes:
    return b",".join(b'"%x":""' % number for number in range(size // 10))


RAW: dict[str, tuple[bytes, str]] = {
    "the good one": (state({"map": [["x", {"tensor": "a", "of": "bytes"}]]}), "3"),
    "nothing": (b"", "2"),
    "a length that lies": (file_of(b"{}", length=2**63), "2"),
    "a header of nothing but quotes": (file_of(b'"' * LARGE), "2"),
    "a header of texts none of which ends": (file_of(b'"\\' * (LARGE // 2)), "2"),
    "a header of short texts": (file_of(b'{"a":[' + many(b'"ab"') + b"]}"), "2"),
    "a header of brackets": (file_of(b'{"a":[' + many(b"[]") + b"]}"), "2"),
    "a header of metadata": (file_of(b'{"__metadata__":{' + members() + b"}}"), "2"),
    "a header of names": (file_of(b"{" + members() + b"}"), "2"),
    "a name as long as the header": (file_of(json.dumps({"n" * LARGE: 5}).encode()), "2"),
    "a type as long as the header": (file_of(json.dumps({"a": tensor(dtype="n" * LARGE)}).encode(), b"data"), "2"),
    "a type that is deep": (file_of(b'{"a":{"dtype":' + b"[" * 900 + b"]" * 900 + b"}}"), "2"),
    "a shape of a million lengths": (file_of(b'{"a":{"dtype":"U8","shape":[' + many(b"1") + b"]}}"), "2"),
    "empty tensors of enormous shapes": (file_of(json.dumps({"a": tensor(shape=[0, 2**62, 2**62])}).encode()), "2"),
    "a structure of names": (state('{"map":[["a",{' + members().decode() + "}]]}"), "2"),
    "a structure of brackets": (state('{"map":[["a",[' + many(b"[]").decode() + "]]]}"), "2"),
    "a structure that is deep": (state("[" * LARGE), "2"),
    "a tensor's name as long as the structure": (state({"map": [["x", {"tensor": "n" * LARGE, "of": "plain"}]]}), "2"),
    "a long key around very many lists": (state({"map": [["k" * 300_000, [[]] * 10_000]]}), "2"),
    "bytes that are no bytes": (
        state({"map": [["x", {"tensor": "a", "of": "bytes"}]]}, a=tensor("U16", [2])),
        "2",
    ),
    "one tensor of very many names": (
        state(
            {"map": [[f"{n}", {"tensor": "a", "of": "bytes"}] for n in range(20_000)]},
            bytes(4 * MIB),
            a=tensor(shape=[4 * MIB], place=[0, 4 * MIB]),
        ),
        "3",
    ),
    "names that can't be written": (state({"map": [["\ud800", {"tensor": "a", "of": "plain"}]]}), "3"),
}


def of_holes(store: Store, head: bytes, hole: int) -> None:
    """Let checkpoint 3 be a file that begins with these bytes, and goes on as a hole."""
    [name] = {pack.name for pack in (store.folder / "packs").iterdir()}
    (store.folder / "packs" / name).write_bytes(head)
    chunks = [[0, 0, len(head), blake3(head).hexdigest()], [hole]]
    node = {"kind": "file", "path": "state.safetensors", "mode": 420, "mtime": [0, 0], "chunks": chunks}
    manifest = {"packs": [{"name": name, "size": len(head)}], "nodes": [node]}
    store.change(3, manifest=manifest, size=len(head) + hole)


def holed(size: int, *names: str) -> bytes:
    form = {"map": [[name, {"tensor": "a", "of": "plain"}] for name in names]}
    return state(form, b"", a=tensor(shape=[size], place=[0, size]))


HOLES: dict[str, tuple[Callable[[Store], object], str]] = {
    "a header that is a hole": (lambda store: of_holes(store, (10**8).to_bytes(8, "little"), 2**40), "2"),
    "a header that ends in a hole": (lambda store: of_holes(store, file_of(b"{}", length=10**8), 2**40), "2"),
    "an enormous tensor that is a hole": (
        lambda store: of_holes(store, holed(2**60, "x"), 2**60),
        "ConfigurationError",
    ),
    "a hole of very many names": (
        lambda store: of_holes(store, holed(64 * MIB, *map(str, range(10_000))), 64 * MIB),
        "3",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process got from each of them."""
    base = tmp_path_factory.mktemp("hostile-states")
    names = [*RAW, *HOLES]
    for number, name in enumerate(names):
        folder = base / f"{number}"
        source = folder / "state.safetensors"
        folder.mkdir()
        source.write_bytes(RAW[name][0] if name in RAW else os.urandom(200_000))
        with Checkpoints((folder / "store").as_uri(), attempt=1) as store:
            store.save({"x": b"good"}, wait=True)
            store.save(source, wait=True)
        if name in HOLES:
            HOLES[name][0](Store(folder / "store"))
    done = subprocess.run(
        [sys.executable, str(VICTIM), *(str(base / f"{number}" / "store") for number in range(len(names)))],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died at {names[len(lines)]}: {done.stderr[-3000:]}"
    assert len(done.stderr) < 1000 * len(names), "an enemy's names are told by their beginning"
    return dict(zip(names, lines, strict=True))


@pytest.mark.parametrize("name", [*RAW, *HOLES])
def test_it_gives_its_stated_answer_in_bounded_memory(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes[name]
    assert found["got"] == (RAW.get(name) or HOLES[name])[1]
    assert found["peak"] < ALLOWED_MIB
