"""What a state can't hold, and what a restore can't put anywhere, is refused with a reason, and changes nothing."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.unit.state.test_states_come_back import Elsewhere, through
from tests.unit.store.stepped import SteppedBackend
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError
from waypost.store import keys


@pytest.fixture
def store() -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=SteppedBackend()) as opened:
        yield opened


def closed() -> mmap.mmap:
    made = mmap.mmap(-1, 10)
    made.close()
    return made


def deep() -> dict[str, Any]:
    state: dict[str, Any] = {}
    for _ in range(200):
        state = {"below": state}
    return state


def endless() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["self"] = [state]
    return state


REFUSED: dict[str, tuple[Any, str]] = {
    "an object": ({"a": {"b": object()}}, r"'a\.b' is a builtins\.object.*pickle"),
    "a set": ({"a": {1, 2}}, "is a builtins.set"),
    "a function": ({"a": print}, "builtin_function"),
    "a complex number": ({"a": 1j}, "is a builtins.complex"),
    "texts in an array": ({"a": numpy.array(["x"])}, "an array of <U1"),
    "objects in an array": ({"a": numpy.array([None])}, "an array of object"),
    "dates": ({"a": numpy.array(["2026-01-01"], "M8[s]")}, "an array of datetime64"),
    "records": ({"a": numpy.zeros(2, [("x", "f4"), ("y", "f4")])}, "an array of"),
    "complex128": ({"a": numpy.zeros(2, "c16")}, "an array of complex128"),
    "long double": ({"a": numpy.zeros(2, "g")}, "an array of float128"),
    "a masked array": ({"a": numpy.ma.masked_array([1], [True])}, "masked"),
    "on a device": ({"a": Elsewhere(numpy.ones(2))}, "on a device.*copy it to host memory"),
    "a key of bytes": ({"a": {b"k": 1}}, r"'a' has the key b'k'"),
    "a key of a tuple": ({(1, 2): 1}, "it has the key"),
    "a truth value as key": ({True: 1}, "it has the key True"),
    "two arrays of one name": ({"a.b": numpy.ones(1), "a": {"b": numpy.ones(1)}}, r"called 'a\.b'.*rename one"),
    "the number and the text": ({1: numpy.ones(1), "1": numpy.zeros(1)}, "called '1'"),
    "the format's own name": ({"__metadata__": numpy.ones(1)}, "keeps the name"),
    "no UTF-8": ({"\udcff": numpy.ones(1)}, "UTF-8"),
    "too deep": (deep(), "nested more than 100 deep"),
    "endless": (endless(), "or holds itself"),
    "a buffer that was closed": ({"a": closed()}, "'a' is a mmap that doesn't give its buffer .*closed"),
    "a number of 5000 digits": ({"a": 10**5000}, "too long a number"),
}


@pytest.mark.parametrize(("state", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_by_its_place(store: Checkpoints, state: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        store.save(state)
    assert store.latest() is None


SAVED = {"model": {"w": numpy.ones((2, 3), "f4"), "b": numpy.ones(3, "f4")}, "step": 1}
READ_ONLY = numpy.zeros(3, "f4")
READ_ONLY.flags.writeable = False
DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "one is missing": ({"w": numpy.zeros((2, 3), "f4")}, r"'model\.b' isn't there"),
    "one too many": (
        {"w": numpy.zeros((2, 3), "f4"), "b": numpy.zeros(3, "f4"), "c": numpy.zeros(1)},
        r"there it holds 'model\.c', and the checkpoint doesn't",
    ),
    "another type of the same size": (
        {"w": numpy.zeros((2, 3), "i4"), "b": numpy.zeros(3, "f4")},
        r"'model\.w' is I32 of shape \[2, 3\] there, and F32 of shape \[2, 3\] in the checkpoint",
    ),
    "another shape of the same size": (
        {"w": numpy.zeros((3, 2), "f4"), "b": numpy.zeros(3, "f4")},
        r"'model\.w' is F32 of shape \[3, 2\] there",
    ),
    "read-only": ({"w": numpy.zeros((2, 3), "f4"), "b": READ_ONLY}, r"'model\.b' can't be written to there"),
    "no array": ({"w": 5, "b": numpy.zeros(3, "f4")}, r"'model\.w' isn't there"),
    "an object": ({"w": object()}, "can't restore into this state: what stands at 'model.w'"),
}


@pytest.mark.parametrize(("model", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_the_first_difference_is_named_and_nothing_is_written(
    store: Checkpoints, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        through(store, SAVED, into={"model": model})
    for values in model.values():
        if isinstance(values, numpy.ndarray):
            assert not values.any()


def test_one_array_in_two_places_takes_no_two_tensors(store: Checkpoints) -> None:
    state = {"a": numpy.ones(3, "f4"), "b": numpy.full(3, 2, "f4"), "c": numpy.full(3, 3, "f4")}
    there = numpy.zeros(3, "f4")
    with pytest.raises(ConfigurationError, match="'a' and 'b' are one there, and two in the checkpoint"):
        through(store, state, into={"a": there, "b": there, "c": numpy.zeros(3, "f4")})
    assert not there.any()
    tied = {"a": state["a"], "b": state["a"]}
    through(store, tied, into={"a": there, "b": there})
    assert there.all()


def test_a_part_can_be_selected_and_nothing_else_is_fetched() -> None:
    backend = SteppedBackend()
    with Checkpoints(attempt=1, backend=backend) as store:
        state = {
            "model": {"big": numpy.random.default_rng(3).random(5 * 2**20), "small": numpy.arange(3)},
            "plan": {"rates": [1, 2, (3, numpy.arange(2))], "model": 5},
            "step": 7,
        }
        store.save(state, wait=True)
        found = store.restore_state(select=["model.small", "plan.rates", "step"])
        assert found is not None
        assert list(found.state) == ["model", "plan", "step"]
        assert list(found.state["model"]) == ["small"]
        assert found.state["plan"]["rates"][2][1].tolist() == [0, 1]
        there = {"small": numpy.zeros(3, "int64")}
        store.restore_state(into={"model": there}, select="model.small")
        assert there["small"].tolist() == [0, 1, 2]
        backend.requests.clear()
        store.restore_state(select="step")
        assert len([key for _, key in backend.requests if key.startswith(keys.PACKS)]) == 1 < len(backend.packs())


@pytest.mark.parametrize("select", ["nothing", "model.w.x", "mod", "list.0", ["step", "stepp"], ""])
def test_selecting_what_is_not_there_is_an_error(store: Checkpoints, select: Any) -> None:
    with pytest.raises(ConfigurationError, match="can't select"):
        through(store, {**SAVED, "list": [numpy.ones(1)]}, select=select)


def test_what_was_saved_as_a_folder_is_no_state(store: Checkpoints, tmp_path: Path) -> None:
    assert store.restore_state() is None
    (tmp_path / "a").write_text("a")
    store.save(tmp_path, wait=True)
    with pytest.raises(ConfigurationError, match=r"it holds a, and a state is one file state\.safetensors"):
        store.restore_state()


def test_a_library_that_is_not_there_is_named(store: Checkpoints) -> None:
    with pytest.raises(ConfigurationError, match="for torch, which isn't installed here"):
        through(store, SAVED, library="torch")
    with pytest.raises(ConfigurationError, match="library is 'torch', 'numpy', 'plain' or None, not 'jax'"):
        store.restore_state(library="jax")  # type: ignore[arg-type]
