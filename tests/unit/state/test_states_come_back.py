"""A state comes back as what it was: every kind of array and value, new or into what is there."""

from __future__ import annotations

import array
import collections
import ctypes
import enum
import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.store.stepped import SteppedBackend, World
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError
from waypost.state import saving
from waypost.state.dtypes import BY_NAME, Dtype
from waypost.state.plain import HostArray


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture(params=[saving.SMALL, 0], ids=["in memory of its own", "in a buffer"])
def store(
    backend: SteppedBackend, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Checkpoints]:
    """Either way a state is copied: the values are the same."""
    monkeypatch.setattr(saving, "SMALL", request.param)
    with Checkpoints(attempt=1, backend=backend) as opened:
        yield opened


def through(store: Checkpoints, state: dict[Any, Any], **options: Any) -> Any:
    store.save(state).result(20)
    found = store.restore_state(**options)
    assert found is not None
    return found.state


def same(left: Any, right: Any) -> bool:
    """Equal in type, shape, element type and every bit."""
    if isinstance(left, numpy.ndarray):
        return (
            isinstance(right, numpy.ndarray)
            and (left.dtype, left.shape) == (right.dtype, right.shape)
            and left.tobytes() == right.tobytes()
        )
    if isinstance(left, dict):
        return type(right) is dict and list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return type(left) is type(right) and bool(left == right)


def test_a_state_as_programs_have_it_comes_back_whole(store: Checkpoints) -> None:
    """Also the numbers as keys, the lists and the tuples that an optimizer of torch has."""
    chance = numpy.random.default_rng(1)
    state = {
        "model": {"layer.weight": chance.random((3, 5), "float32"), "layer.bias": numpy.arange(5, dtype="int64")},
        "optimizer": {
            "state": {0: {"step": 3, "average": chance.random(7)}, 1: {}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1], "foreach": None}],
        },
        "random": b"\x00pickled\xff",
        "epoch": 4,
        "best": math.inf,
        "last": -math.inf,
        "loss": math.nan,
        "zero": -0.0,
        "huge": 3**200,
        "name": "Zoë \N{SNOWMAN}",
        "done": False,
        "nothing": [],
        "": {},
    }
    back = through(store, state)
    assert same(state, back)
    assert math.copysign(1, back["zero"]) == -1


@pytest.mark.parametrize("dtype", BY_NAME.values(), ids=BY_NAME)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 0, 3), (2, 3, 4)], ids=str)
def test_every_element_type_in_every_shape(store: Checkpoints, dtype: Dtype, shape: tuple[int, ...]) -> None:
    element = dtype.numpy if dtype.in_numpy else getattr(ml_dtypes, dtype.numpy)
    values = numpy.arange(math.prod(shape)).reshape(shape).astype(element)
    assert same({"x": values}, through(store, {"x": values}))


LAYOUTS: dict[str, NDArray[Any]] = {
    "transposed": numpy.arange(12, dtype="float32").reshape(3, 4).T,
    "every other": numpy.arange(20, dtype="int16")[::2],
    "backwards": numpy.arange(20, dtype="float64")[::-1],
    "broadcast": numpy.broadcast_to(numpy.float32(3), (2, 5)),
    "Fortran's order": numpy.asfortranarray(numpy.arange(12, dtype="uint8").reshape(3, 4)),
    "big-endian": numpy.arange(12, dtype=">f4").reshape(3, 4),
    "big-endian and strided": numpy.arange(12, dtype=">i8")[::3],
    "strided bfloat16": numpy.arange(12).astype(ml_dtypes.bfloat16)[::2],
}


@pytest.mark.parametrize("values", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_in_memory_is_saved_by_its_values(store: Checkpoints, values: NDArray[Any]) -> None:
    back = through(store, {"x": values})["x"]
    assert (back.dtype, back.flags.c_contiguous) == (values.dtype.newbyteorder("="), True)
    assert numpy.array_equal(back, values)


@pytest.mark.parametrize("values", [one for name, one in LAYOUTS.items() if name != "broadcast"])
def test_values_are_put_into_any_layout(store: Checkpoints, values: NDArray[Any]) -> None:
    there = numpy.zeros_like(values, subok=False)
    if values.size > 1 and values.ndim == 1:
        there = numpy.zeros(3 * len(values), values.dtype)[::3]
    back = through(store, {"x": values}, into={"x": there})
    assert back["x"] is there
    assert numpy.array_equal(there, values)


class Interface:
    """An array that only speaks numpy's array interface."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self.__array_interface__ = values.__array_interface__


class Capsule:
    """An array that only speaks DLPack."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __dlpack__(self) -> Any:
        return self._values.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._values.__dlpack_device__()


class Elsewhere(Capsule):
    """An array on a GPU."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


NUMBERS = numpy.arange(6, dtype="float32").reshape(2, 3)
FOREIGN: dict[str, Any] = {
    "array interface": Interface(NUMBERS),
    "strided array interface": Interface(numpy.arange(12, dtype="float32").reshape(2, 6)[:, ::2] / 2),
    "DLPack": Capsule(NUMBERS),
    "strided DLPack": Capsule(numpy.arange(12, dtype="float32").reshape(2, 6)[:, ::2] / 2),
    "memoryview": memoryview(NUMBERS),  # type: ignore[arg-type]
    "read-only memoryview": memoryview(NUMBERS.tobytes()).cast("f", (2, 3)),
    "ctypes": (ctypes.c_float * 6)(0, 1, 2, 3, 4, 5),
    "ctypes, big-endian": (ctypes.c_float.__ctype_be__ * 6)(0, 1, 2, 3, 4, 5),
    "array": array.array("f", range(6)),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_arrays_of_no_library_come_back_as_host_arrays_that_numpy_reads(store: Checkpoints, foreign: Any) -> None:
    back = through(store, {"x": foreign})["x"]
    assert isinstance(back, HostArray)
    assert back.dtype == "F32"
    assert numpy.array_equal(numpy.asarray(back).reshape(2, 3), NUMBERS)
    again = through(store, {"x": back})["x"]
    assert (again.dtype, again.shape, bytes(again.data)) == (back.dtype, back.shape, bytes(back.data))


def test_buffers_are_restored_into(store: Checkpoints) -> None:
    numbers, raw, plain = (
        array.array("d", [0.0] * 3),
        (ctypes.c_int32 * 2)(),
        HostArray("BF16", (2,), memoryview(bytearray(4))),
    )
    state = {
        "numbers": array.array("d", [1, 2, 3]),
        "raw": (ctypes.c_int32 * 2)(7, 8),
        "plain": HostArray("BF16", (2,), memoryview(b"abcd")),
    }
    through(store, state, into={"numbers": numbers, "raw": raw, "plain": plain})
    assert (list(numbers), list(raw), bytes(plain.data)) == ([1, 2, 3], [7, 8], b"abcd")


def test_numpys_scalars_come_back_as_pythons_numbers(store: Checkpoints) -> None:
    state = {
        "a": numpy.float64(0.1),
        "b": numpy.float32(0.5),
        "c": numpy.int8(-3),
        "d": numpy.bool_(True),
        5: numpy.str_("x"),
    }
    assert same({"a": 0.1, "b": 0.5, "c": -3, "d": True, 5: "x"}, through(store, state))


def test_enumerations_and_ordered_mappings_come_back_as_what_they_hold(store: Checkpoints) -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    state = collections.OrderedDict(b=Level.HIGH, a=Colour.RED)
    assert same({"b": 3, "a": "red"}, through(store, {"x": state})["x"])


def test_two_names_of_the_same_memory_are_saved_once_and_share_theirs_again(
    store: Checkpoints, backend: SteppedBackend
) -> None:
    tied = numpy.random.default_rng(2).random(1000)
    back = through(store, {"embedding": tied, "head": {"weight": tied}, "copy": tied.copy()})
    assert back["embedding"] is back["head"]["weight"]
    assert back["embedding"] is not back["copy"]
    assert same(back["head"]["weight"], tied)
    newest = store.latest()
    assert newest is not None
    assert newest.size_bytes < 3 * tied.nbytes
    there = {"embedding": numpy.zeros(1000), "head": {"weight": numpy.zeros(1000)}, "copy": numpy.zeros(1000)}
    store.restore_state(into=there)
    assert same(there["head"]["weight"], tied), "into separate arrays the values go twice"  # type: ignore[index]


def test_overlapping_views_are_saved_by_their_values(store: Checkpoints) -> None:
    base = numpy.arange(10)
    state = {"base": base, "head": base[:5], "matrix": base.reshape(2, 5)}
    assert same(state, through(store, state))


@pytest.mark.parametrize("library", ["plain", "numpy"])
def test_a_library_can_be_chosen_for_all_arrays(store: Checkpoints, library: str) -> None:
    back = through(store, {"x": numpy.ones(3), "y": array.array("d", [1, 1, 1]), "raw": b"raw"}, library=library)
    assert {type(back["x"]), type(back["y"])} == {HostArray if library == "plain" else numpy.ndarray}
    assert back["raw"] == b"raw"
    assert same(numpy.asarray(back["y"]), numpy.ones(3))


def test_the_file_is_one_that_other_tools_read(store: Checkpoints) -> None:
    state = {"a": {"x": numpy.ones((2, 3), "float32")}, "y": numpy.arange(5, dtype="int8"), "step": 5}
    store.save(state).result(20)
    raw = store.read_bytes()
    assert raw is not None
    found = safetensors.numpy.load(raw)
    assert same(dict(sorted(found.items())), {"a.x": state["a"]["x"], "y": state["y"]})  # type: ignore[index]


def test_a_file_that_another_tool_wrote_is_a_flat_state(store: Checkpoints, tmp_path: Any) -> None:
    file = tmp_path / "state.safetensors"
    file.write_bytes(safetensors.numpy.save({"a.x": NUMBERS, "b": numpy.arange(3)}, {"format": "np"}))
    store.save(file, wait=True)
    found = store.restore_state(library="numpy")
    assert found is not None
    assert same(dict(sorted(found.state.items())), {"a.x": NUMBERS, "b": numpy.arange(3)})


def test_tensors_stand_at_multiples_of_their_elements_size(store: Checkpoints) -> None:
    state = {"bytes": numpy.ones(3, "u1"), "wide": numpy.ones(5, "f8"), "half": numpy.ones(3, "f2")}
    store.save(state).result(20)
    raw = store.read_bytes()
    assert raw is not None
    assert raw.index(state["wide"].tobytes()) % 8 == 0
    assert raw.index(state["half"].tobytes()) % 2 == 0


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.lists(below, max_size=3).map(tuple)
        | st.dictionaries(st.text("ab\N{SNOWMAN}", max_size=2) | st.integers(), below, max_size=3)
    ),
    max_leaves=12,
)


def test_any_structure_comes_back() -> None:
    with Checkpoints(attempt=1, backend=SteppedBackend(), seams=World().seams()) as store:

        @settings(max_examples=50, deadline=None)
        @given(state=st.dictionaries(st.text("ab", max_size=3), _VALUES, max_size=4))
        def comes_back(state: dict[Any, Any]) -> None:
            try:
                back = through(store, state)
            except ConfigurationError as error:
                assert "are called" in str(error), "only names that fall together may be refused"  # noqa: PT017
            else:
                assert same(state, back)

        comes_back()
