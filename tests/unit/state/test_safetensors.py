"""A header may have been written by an enemy: what it says is checked, and nothing it says leads a restore astray."""

from __future__ import annotations

import contextlib
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.stepped import SteppedBackend
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, CorruptCheckpointError
from waypost.state import safetensors, structure
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint


def entry(
    start: int = 0, end: int = 4, dtype: object = "F32", shape: object = (1,), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end], **more}


def read(header: Any, data: int = 4) -> Any:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return safetensors.read_header(raw, safetensors.LENGTH + len(raw) + data)


def test_the_plain_header_of_these_tests_is_accepted() -> None:
    (tensor,), metadata = read({"a": entry(), "__metadata__": {"x": "y"}})
    assert (tensor.name, tensor.shape, tensor.end - tensor.start, metadata) == ("a", (1,), 4, {"x": "y"})
    assert read({}, data=0) == ([], {})


HOSTILE: dict[str, Any] = {
    "no JSON": b"{",
    "no UTF-8": b'{"\xff": 1}',
    "a list": [],
    "nested too deep": b"[" * 100_000,
    "twice the same name": b'{"a": 1, "a": 2}',
    "metadata of numbers": {"a": entry(), "__metadata__": {"x": 5}},
    "metadata that is a list": {"a": entry(), "__metadata__": []},
    "a tensor that is a number": {"a": 5},
    "a member too many": {"a": entry(more=1)},
    "an unknown type": {"a": entry(dtype="F31")},
    "a type that is a list": {"a": entry(dtype=["F32"])},
    "a negative length": {"a": entry(shape=[-1])},
    "two negative lengths": {"a": entry(shape=[-1, -1])},
    "a broken length": {"a": entry(shape=[1.0])},
    "a truth value as length": {"a": entry(shape=[True])},
    "a shape that is a number": {"a": entry(shape=1)},
    "a shape that overflows": {"a": entry(shape=[2**62, 4])},
    "a shape of nothing that overflows": {"a": entry(start=0, end=0, shape=[0, 2**62, 2**62]), "b": entry()},
    "a number of 5000 digits": b'{"a":{"dtype":"F32","shape":[' + b"1" * 5000 + b'],"data_offsets":[0,4]}}',
    "very many dimensions": {"a": entry(shape=[1] * 65)},
    "a place too small": {"a": entry(end=3)},
    "a place too large": {"a": entry(end=8, shape=[2])},
    "a place that runs backwards": {"a": entry(start=4, end=0)},
    "three offsets": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}},
    "outside": {"a": entry(start=400, end=404)},
    "a gap": {"a": entry(start=1, end=4, dtype="U8", shape=[3])},
    "an overlap": {"a": entry(), "b": entry(start=2, dtype="U8", shape=[2])},
    "bytes behind the last": {"a": entry(end=2, dtype="U8", shape=[2])},
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_damage(header: Any) -> None:
    with pytest.raises(DamagedError):
        read(header)


STRUCTURES: dict[str, Any] = {
    "no mapping": [1],
    "an unknown tag": {"map": [["a", {"object": "os.system"}]]},
    "two tags": {"map": [], "tuple": []},
    "a tensor that isn't there": {"map": [["a", {"tensor": "b", "of": "numpy"}]]},
    "an unknown library": {"map": [["a", {"tensor": "a", "of": "pickle"}]]},
    "a library of no name": {"map": [["a", {"tensor": "a", "of": 5}]]},
    "a key twice": {"map": [["a", 1], ["a", 2]]},
    "a key that is a list": {"map": [[["a"], 1]]},
    "a key that is a truth value": {"map": [[True, 1]]},
    "no pairs": {"map": ["ab"]},
    "an odd float": {"map": [["a", {"float": "1e999"}]]},
    "two arrays of one name": {
        "map": [
            ["a.b", {"tensor": "a", "of": "numpy"}],
            ["a", {"map": [["b", {"tensor": "a", "of": "numpy"}]]}],
        ]
    },
}


@pytest.mark.parametrize("form", STRUCTURES.values(), ids=STRUCTURES)
def test_a_hostile_structure_is_damage(form: Any) -> None:
    with pytest.raises(DamagedError):
        structure.decode(json.dumps(form), {"a"})


def test_a_structure_that_is_nested_too_deep_is_damage() -> None:
    for text in ("[" * 100_000, '{"map":[["a",' * 200 + "1" + "]]}" * 200):
        with pytest.raises(DamagedError):
            structure.decode(text, set())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_damage(raw: bytes) -> None:
    with contextlib.suppress(DamagedError):
        read(raw)


@pytest.mark.parametrize("length", [0, 3, 10**6, 2**63, 2**64 - 1])
def test_a_length_that_lies_is_damage_and_costs_no_memory(length: int) -> None:
    backend = SteppedBackend()
    with Checkpoints(attempt=1, backend=backend) as store:
        save_raw(store, length.to_bytes(8, "little") + b"{}  ")
        with pytest.raises(CorruptCheckpointError):
            store.restore_state()


@pytest.mark.parametrize("raw", [b"", b"1234567"])
def test_a_file_shorter_than_a_length_is_damage(raw: bytes) -> None:
    with Checkpoints(attempt=1, backend=SteppedBackend()) as store:
        save_raw(store, raw)
        with pytest.raises(CorruptCheckpointError):
            store.restore_state()


def test_a_damaged_state_falls_back_to_the_one_before() -> None:
    with Checkpoints(attempt=1, backend=SteppedBackend()) as store:
        store.save({"x": numpy.ones(3), "step": 1}, step=1, wait=True)
        save_raw(store, b"no state")
        found = store.restore_state()
        assert found is not None
        assert (found.info.step, found.state["step"]) == (1, 1)


def test_an_enormous_hole_takes_no_memory() -> None:
    """A few bytes of an entry declare 2^50 bytes; whoever restores it gets an error, not the machine's end."""
    backend = SteppedBackend()
    with Checkpoints(attempt=1, backend=backend) as store:
        size = 2**50
        header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        save_raw(store, len(header).to_bytes(8, "little") + header)
        newest = backend.entry(2)
        assert isinstance(newest, Checkpoint)
        assert isinstance(newest.manifest, dict)
        newest.manifest["nodes"][0]["chunks"].append([size])
        backend.rewrite(2, manifest=newest.manifest, size=newest.size + size)
        with pytest.raises(ConfigurationError, match="more than this machine has memory"):
            store.restore_state()


def peak(action: Callable[[], object]) -> int:
    """Bytes that Python took at most, while this was refused or done."""
    tracemalloc.start()
    try:
        with contextlib.suppress(DamagedError):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LEAF = '["%x",{"tensor":"a","of":"numpy"}]'
GREEDY = {
    "many arrays below a long key": f'["{"k" * 300_000}",{{"map":[{",".join(LEAF % n for n in range(3000))}]}}]',
    "many lists below a long key": f'["{"k" * 300_000}",[{"[]," * 10_000}[]]]',
    "many numbers below a long key": f'["{"k" * 300_000}",[{"1," * 10_000}1]]',
    "nothing but brackets": f'["a",[{"[]," * 500_000}[]]]',
}


@pytest.mark.parametrize("pair", GREEDY.values(), ids=GREEDY)
def test_a_structure_takes_no_more_than_some_times_its_size(pair: str) -> None:
    text = f'{{"map":[{pair}]}}'

    def read_all() -> None:
        form = structure.decode(text, {"a"})
        structure.build(form, lambda leaf: leaf.name)

    assert peak(read_all) < 20 * len(text)


@pytest.mark.parametrize("filling", [b"[],", b"{},"])
def test_a_header_takes_no_more_than_some_times_its_size(filling: bytes) -> None:
    raw = b'{"a":[' + filling * 500_000 + b"1]}"
    assert peak(lambda: read(raw)) < 10 * len(raw)


def test_what_a_restore_would_refuse_is_not_saved() -> None:
    with pytest.raises(ConfigurationError, match="consists of little but brackets"):
        structure.encode({"map": [["a", [[]] * 400_000]]})
    with (
        Checkpoints(attempt=1, backend=SteppedBackend()) as store,
        pytest.raises(ConfigurationError, match="use shorter keys"),
    ):
        store.save({"k" * 300_000: {str(n): [] for n in range(100)}}, wait=True)


@pytest.mark.parametrize("given", [None, {}], ids=["new", "into"])
def test_bytes_of_many_names_take_their_memory_once(given: dict[str, bytes] | None) -> None:
    """The structure was written by somebody else: ours never gives one text of bytes two names."""
    size, names = 100_000, [f"{n}" for n in range(200)]
    form = {"map": [[name, {"tensor": "a", "of": "bytes"}] for name in names]}
    header = {
        "__metadata__": {"waypost.state": json.dumps(form)},
        "a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]},
    }
    raw = json.dumps(header).encode()
    with Checkpoints(attempt=1, backend=SteppedBackend()) as store:
        save_raw(store, len(raw).to_bytes(8, "little") + raw + bytes(range(250)) * 400)
        into = None if given is None else dict.fromkeys(names, b"")
        found: list[Any] = []
        assert peak(lambda: found.append(store.restore_state(into=into))) < 20 * size
    assert set(found[0].state) == set(names)
    assert set(found[0].state.values()) == {bytes(range(250)) * 400}


def save_raw(store: Checkpoints, raw: bytes) -> None:
    """A checkpoint whose file has the name of a state."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.safetensors"
        file.write_bytes(raw)
        store.save(file, wait=True)
