"""The shape of a state: nested mappings, lists and tuples, with plain values and arrays as leaves, and as JSON.

An array is named by the way to it, joined by dots (`model.layer1.weight`), as the field does. In the JSON every object
is a tag, so that nothing is ambiguous: `{"map": [[key, value], ...]}` (keys may be whole numbers, which an optimizer
of torch uses), `{"tuple": [...]}`, `{"float": "nan"}`, `{"tensor": name, "of": library}`. Two names of the same memory
(tied weights) are two leaves with one tensor.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

from waypost.errors import ConfigurationError
from waypost.state.arrays import Array, Origin, array_of, unboxed
from waypost.state.safetensors import METADATA, shown
from waypost.store.damage import DamagedError
from waypost.store.density import count, too_dense
from waypost.store.keys import MIB

MAX_DEPTH: Final = 100
_DENSEST: Final = 4
"""Bytes for each bracket in the densest structure that anybody means: a list of lists of one digit has as many."""
_MEMBERS: Final = 2
"""Names that a tag has at most: an object of many takes thirty times its size to be read."""
_MORE_MEMBERS: Final = 100_000
"""So many more do no harm."""
_NAMES: Final = 16
"""Times as long as the text may be all names in it together: every name repeats those of the mappings around it."""
_NAMED: Final = (dict, list)
"""What has a name, or holds what has one. Plain values need none, and it would cost its length for each of them."""
_ORIGINS: Final[Set[str]] = {"torch", "numpy", "bytes", "plain"}
Form = Any
"""A state or a part of one as JSON."""


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """An array of the state: by the way to it, and which tensor of the file it is."""

    name: str
    tensor: str
    origin: Origin


@dataclasses.dataclass(frozen=True)
class Described:
    """A state taken apart."""

    form: Form
    arrays: Mapping[str, Array]
    """Each tensor that the file will hold, by its name."""
    leaves: Mapping[str, Array]
    """Every array, also the second name of the same memory."""


def describe(state: Mapping[Any, Any]) -> Described:
    """Take a state apart. Raises ConfigurationError, naming the place, for what can't be saved."""
    walk = _Walk()
    form = walk.form(state, "", 0)
    return Described(form, walk.arrays, walk.leaves)


def encode(form: Form) -> str:
    """The JSON of a form. Raises ConfigurationError for one that `decode` would refuse."""
    text = json.dumps(form, separators=(",", ":"), allow_nan=False)
    if (problem := _problem_of_text(text) or _problem_of_names(text, form)) is not None:
        raise ConfigurationError(f"can't save the state: its structure {problem}")
    return text


def decode(text: str, tensors: Set[str]) -> Form:
    """The form that a file's metadata hold; raises DamagedError unless it is one over these tensors."""
    if (problem := _problem_of_text(text)) is not None:
        raise DamagedError(f"the structure of its state {problem}")
    try:
        form = json.loads(text)
        _check(form, tensors, 0)
        if (problem := _problem_of_names(text, form)) is not None:
            problem = f"it {problem}"
    except (ValueError, RecursionError) as error:
        problem = shown(str(error), 400)
    if problem is not None:  # not as the other one's consequence, which would hold what was read
        raise DamagedError(f"the structure of its state is malformed: {problem}")
    if not isinstance(form, dict) or "map" not in form:
        raise DamagedError("the structure of its state isn't a mapping")
    names = [leaf.name for leaf in leaves_of(form)]
    if len(set(names)) != len(names):
        raise DamagedError("the structure of its state has two arrays of one name")
    return form


def flat(tensors: Iterator[str]) -> Form:
    """The form of a file that another program wrote: one mapping of its tensors."""
    return {"map": [[name, {"tensor": name, "of": "plain"}] for name in tensors]}


def leaves_of(form: Form, name: str = "") -> Iterator[Leaf]:
    """Every array of a form, in its order."""
    if isinstance(form, dict) and "tensor" in form:
        yield Leaf(name, form["tensor"], form["of"])
    for key, value in _children(form):
        if isinstance(value, _NAMED):
            yield from leaves_of(value, _join(name, key))


def build(form: Form, leaf: Callable[[Leaf], Any], name: str = "") -> Any:
    """The state of this form, with `leaf(...)` for each array."""

    def below(key: int | str, value: Form) -> Any:
        return build(value, leaf, _join(name, key)) if isinstance(value, _NAMED) else value

    if isinstance(form, list):
        return [below(key, value) for key, value in _children(form)]
    if not isinstance(form, dict):
        return form
    match form:
        case {"tensor": tensor, "of": origin}:
            return leaf(Leaf(name, tensor, origin))
        case {"float": text}:
            return float(text)
        case {"tuple": _}:
            return tuple(below(key, value) for key, value in _children(form))
    return {key: below(key, value) for key, value in _children(form)}


def select(form: Form, paths: Sequence[str]) -> Form:
    """What is at these paths and below them, in the mappings on the way there; raises KeyError for one it hasn't."""
    missing = set(paths)
    kept = _selected(form, "", missing, frozenset(paths))
    if missing:
        raise KeyError(min(missing))
    return kept


def _selected(form: Form, name: str, missing: set[str], paths: Set[str]) -> Form:
    kept = []
    for key, value in _children(form) if isinstance(form, dict) and "map" in form else ():
        inner = _join(name, key)
        missing.discard(inner)
        if inner in paths:
            kept.append([key, value])
        elif any(path.startswith(f"{inner}.") for path in paths):
            below = _selected(value, inner, missing, paths)
            if below["map"]:
                kept.append([key, below])
    return {"map": kept}


def _children(form: Form) -> Iterator[tuple[int | str, Form]]:
    match form:
        case list():
            yield from enumerate(form)
        case {"tuple": values}:
            yield from enumerate(values)
        case {"map": pairs}:
            yield from pairs


def _join(name: str, key: int | str) -> str:
    return f"{name}.{key}" if name else str(key)


class _Walk:
    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.leaves: dict[str, Array] = {}
        self._taken: dict[object, str] = {}
        """By an array's identity, the tensor that holds it."""

    def form(self, value: Any, name: str, depth: int) -> Form:
        if depth > MAX_DEPTH:
            raise ConfigurationError(
                f"can't save the state: {name[:80]}... is nested more than {MAX_DEPTH} deep, or holds itself"
            )
        value = unboxed(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str.__str__(value)
        if (array := array_of(value, name)) is not None:
            return self._tensor(array, name)
        if isinstance(value, int):
            return self._int(int(value), name)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Mapping):
            pairs = [[self._key(key, name), below] for key, below in value.items()]
            return {"map": [[key, self.form(below, _join(name, key), depth + 1)] for key, below in pairs]}
        if isinstance(value, list | tuple):
            values = [self.form(below, _join(name, index), depth + 1) for index, below in enumerate(value)]
            return values if isinstance(value, list) else {"tuple": values}
        raise ConfigurationError(
            f"can't save the state: {_at(name)} is a {type(value).__module__}.{type(value).__qualname__}. A state "
            "holds tensors, arrays, bytes, numbers, texts, None, and mappings, lists and tuples of them; turn it into "
            "one of these (state_dict(), or bytes by pickle.dumps())"
        )

    def _tensor(self, array: Array, name: str) -> Form:
        if name in self.leaves:
            raise ConfigurationError(
                f"can't save the state: two of its arrays are called {name!r} once the keys on the way to them are "
                "joined by dots; rename one"
            )
        if name == METADATA:
            raise ConfigurationError(f"can't save the state: the format keeps the name {METADATA} for itself")
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise ConfigurationError(f"can't save the state: the name {name!r} can't be written in UTF-8") from None
        tensor = name if array.identity is None else self._taken.setdefault(array.identity, name)
        self.leaves[name] = array
        self.arrays.setdefault(tensor, array)
        return {"tensor": tensor, "of": array.origin}

    @staticmethod
    def _int(value: int, name: str) -> int:
        try:
            str(value)
        except ValueError as error:
            raise ConfigurationError(f"can't save the state: {_at(name)} is too long a number: {error}") from None
        return value

    @staticmethod
    def _key(key: object, name: str) -> int | str:
        key = unboxed(key)
        if isinstance(key, str):
            return str.__str__(key)
        if isinstance(key, int) and not isinstance(key, bool):
            return int(key)
        raise ConfigurationError(
            f"can't save the state: {_at(name)} has the key {key!r}; the keys of a state are texts and whole numbers"
        )


def _problem_of_text(text: str) -> str | None:
    """What is wrong with it if it takes much more to be read than it is long."""
    raw = text.encode("utf-8", "replace")
    if too_dense(raw, b"[{", _DENSEST):
        return "consists of little but brackets, which take too much memory; keep such lists as arrays"
    if count(raw, b":") > _MEMBERS * count(raw, b"{") + _MORE_MEMBERS:
        return "holds objects of more names than a tag has"
    return None


def _problem_of_names(text: str, form: Form) -> str | None:
    most = MIB + _NAMES * len(text)
    if _names(form, 0) > most:
        return f"gives its parts names of more than {most} characters, all together; use shorter keys"
    return None


def _names(form: Form, length: int) -> int:
    """Characters of all names in it, where its own has so many."""
    total = 0
    for key, value in _children(form):
        if isinstance(value, _NAMED):
            below = length + 1 + (len(key) if isinstance(key, str) else len(str(key)))
            total += below + _names(value, below)
    return total


def _at(name: str) -> str:
    return f"what stands at {name!r}" if name else "it"


def _check(form: Form, tensors: Set[str], depth: int) -> None:
    """Raises ValueError for what no writer of ours wrote."""
    if depth > MAX_DEPTH + 1:
        raise ValueError("it is nested too deep")
    match form:
        case None | bool() | int() | float() | str():
            return
        case {"float": "nan" | "inf" | "-inf"} if len(form) == 1:
            return
        case {"tensor": str(tensor), "of": str(origin)} if len(form) == 2:
            if tensor not in tensors or origin not in _ORIGINS:
                raise ValueError(
                    f"it speaks of the tensor {shown(tensor)!r} of {shown(origin)!r}, which the file hasn't"
                )
        case {"map": list(pairs)} if len(form) == 1:
            for pair in pairs:
                if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) not in (str, int):
                    raise ValueError("a mapping isn't a list of keys and values")
            if len({pair[0] for pair in pairs}) != len(pairs):
                raise ValueError("a key stands twice")
        case list():
            pass
        case {"tuple": list()} if len(form) == 1:
            pass
        case _:
            raise ValueError("it holds an object that is no tag")
    for _, value in _children(form):
        _check(value, tensors, depth + 1)
