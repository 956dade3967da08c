"""The safetensors format: eight bytes of length, a JSON header that says where each tensor lies, and the tensors.

https://github.com/huggingface/safetensors#format: no holes, no overlaps, offsets from the end of the header, at most
100 MB of header. Written here so that every tensor stands at a multiple of its element's size, which lets a reader map
the file. A header that is read may have been written by an enemy: everything in it is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from waypost.state import dtypes
from waypost.state.dtypes import Dtype
from waypost.store.damage import DamagedError
from waypost.store.density import count, too_dense

LENGTH: Final = 8
"""Bytes ahead of the header, which tell its length."""
MAX_HEADER: Final = 100_000_000
METADATA: Final = "__metadata__"
_MAX_DIMENSIONS: Final = 64
_DENSEST: Final = 12
"""Bytes for each bracket in a header: the shortest tensor takes 50, and has three."""
_MEMBERS: Final = 4
"""Names for each object, as a tensor has: whatever has more takes thirty times its size to be read."""
_MORE_MEMBERS: Final = 100_000
"""Names that the metadata may have."""
_SHOWN: Final = 80
_PAGE: Final = 4096
_LARGE: Final = 2**20
"""From so many bytes of data on these begin at a page: a header that grows a little then doesn't move them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """What the header says of one tensor; the bytes are those of the file."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.dtype.name} of shape {list(self.shape)}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """A whole file: its first bytes, and where the tensors lie behind them."""

    head: bytes
    tensors: Sequence[Tensor]
    size: int


def lay_out(tensors: Iterable[tuple[str, Dtype, tuple[int, ...]]], metadata: Mapping[str, str]) -> Layout:
    """The file of these tensors: large elements first, else in the order given.

    Raises ValueError when the header gets longer than the format allows.
    """
    placed: list[tuple[str, Dtype, tuple[int, ...], int, int]] = []
    at = 0
    for name, dtype, shape in sorted(tensors, key=lambda one: -one[1].size):
        end = at + dtype.size * math.prod(shape)
        placed.append((name, dtype, shape, at, end))
        at = end
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for name, dtype, shape, start, end in placed:
        header[name] = {"dtype": dtype.name, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    unit = _PAGE if at >= _LARGE else LENGTH
    text = text.ljust(-(-(LENGTH + len(text)) // unit) * unit - LENGTH)
    if len(text) > MAX_HEADER:
        raise ValueError(f"its names and plain values take {len(text)} bytes, more than {MAX_HEADER}")
    head = len(text).to_bytes(LENGTH, "little") + text
    base = len(head)
    return Layout(
        head,
        [Tensor(name, dtype, shape, base + start, base + end) for name, dtype, shape, start, end in placed],
        base + at,
    )


def header_length(first: bytes, size: int) -> int:
    """Of a file of `size` bytes that begins with these. Raises DamagedError."""
    length = int.from_bytes(first[:LENGTH], "little")
    if len(first) < LENGTH or length > min(MAX_HEADER, size - LENGTH):
        raise DamagedError(f"its state is no safetensors file: a header of {length} bytes in a file of {size}")
    return length


def read_header(raw: bytes, size: int) -> tuple[Sequence[Tensor], Mapping[str, str]]:
    """The tensors, by their place, and the metadata, that the header of a file of `size` bytes speaks of.

    Raises DamagedError for anything that the format doesn't allow.
    """
    if too_dense(raw, b"[{", _DENSEST) or count(raw, b":") > _MEMBERS * count(raw, b"{") + _MORE_MEMBERS:
        raise DamagedError(
            "the header of its state is denser than any list of tensors: reading it takes too much memory"
        )
    try:
        tensors, metadata = _parsed(raw, size)
    except (ValueError, RecursionError) as error:
        problem = shown(str(error), 4 * _SHOWN)
    else:
        _require_all(tensors, LENGTH + len(raw), size)
        return tensors, metadata
    # not as the other one's consequence, which would hold what was read: it is read once more, to be sure
    raise DamagedError(f"the header of its state is malformed: {problem}")


def _parsed(raw: bytes, size: int) -> tuple[list[Tensor], Mapping[str, str]]:
    header = json.loads(raw.decode("utf-8"), object_pairs_hook=_members)
    if not isinstance(header, dict):
        raise ValueError("it isn't an object")  # noqa: TRY004 - it is the text that is wrong
    metadata = _metadata(header.pop(METADATA, {}))
    base = LENGTH + len(raw)
    tensors = [_tensor(name, value, base, size) for name, value in header.items()]
    return sorted(tensors, key=lambda tensor: (tensor.start, tensor.end)), metadata


def _require_all(tensors: Sequence[Tensor], at: int, size: int) -> None:
    """They have to stand one behind the other, from there to the end of the file. Raises DamagedError."""
    for tensor in tensors:
        if tensor.start != at:
            raise DamagedError(f"the header of its state leaves a gap or an overlap ahead of {shown(tensor.name)!r}")
        at = tensor.end
    if at != size:
        raise DamagedError(f"the header of its state speaks of {at} bytes, and there are {size}")


def shown(text: str, most: int = _SHOWN) -> str:
    """For messages: an enemy's name may be as long as the header."""
    return text if len(text) <= most else f"{text[:most]}..."


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _metadata(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{METADATA} isn't an object of texts")
    return value


def _tensor(name: str, value: object, base: int, size: int) -> Tensor:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown(name)!r} isn't described by dtype, shape and data_offsets")
    shape, offsets = value["shape"], value["data_offsets"]
    dtype = dtypes.BY_NAME.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"{shown(name)!r} has the unknown element type {shown(repr(value['dtype']))}")
    if not _lengths(shape, _MAX_DIMENSIONS) or not _lengths(offsets, 2) or len(offsets) != 2:
        raise ValueError(f"{shown(name)!r} has a malformed shape or place")
    if dtype.size * math.prod(length for length in shape if length) >= 2**63:
        raise ValueError(
            f"{shown(name)!r} has a shape that no memory could hold"
        )  # whoever makes it fails, also if it is empty
    start, end = offsets
    if end - start != dtype.size * math.prod(shape) or base + end > size:
        raise ValueError(f"the place of {shown(name)!r} isn't as large as its shape, or lies outside")
    return Tensor(name, dtype, tuple(shape), base + start, base + end)


def _lengths(value: object, most: int) -> bool:
    """Whether these are at most `most` numbers that a length may be."""
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in value)
    )
