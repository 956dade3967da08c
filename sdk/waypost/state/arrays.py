"""What a leaf of a state is made of: whose array it is, its elements' type and shape, and how to get at its bytes.

A library's arrays are known by its own class, and only if the program has loaded that library. Everything else speaks
one of the protocols of the field: Python's buffers, numpy's array interface, DLPack. Most arrays are one piece of
host memory, whose `address` is all that a copy needs; the others (strided, big-endian, on a device) bring functions
that turn them into the file's form and back.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any, Literal

from waypost.errors import ConfigurationError
from waypost.state.dtypes import Dtype
from waypost.state.plain import HostArray

Origin = Literal["torch", "numpy", "bytes", "plain"]


@dataclasses.dataclass(frozen=True, slots=True)
class Array:
    """One array of a state. The file's form of it: C order, little-endian."""

    dtype: Dtype
    shape: tuple[int, ...]
    origin: Origin
    owner: Any
    """The object that was given, which keeps the memory."""
    address: int | None = None
    """Where it stands in host memory in the file's form; None for one that doesn't, or that brings its functions."""
    gather: Callable[[memoryview], None] | None = None
    """Writes the elements in the file's form."""
    scatter: Callable[[memoryview], None] | None = None
    """Takes elements in the file's form; None, without an address: it can't be restored into."""
    writable: bool = False
    identity: object = None
    """Equal for two arrays of the same memory, of one library; None where that can't be told."""

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return self.dtype.size * math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.name} of shape {list(self.shape)}"


def host_view(address: int, size: int) -> memoryview:
    """So many bytes of this process's memory, writable; the caller keeps their owner alive."""
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B") if size else memoryview(bytearray())


def unboxed(value: Any) -> Any:
    """A scalar of numpy as Python's own number; anything else as it is."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def refused(name: str, what: str, advice: str) -> ConfigurationError:
    """The error for an array that can't be kept."""
    return ConfigurationError(f"can't save the state: {name!r} is {what}; {advice}")


def array_of(value: Any, name: str) -> Array | None:
    """The array that stands at `name`; None for what is none. Raises ConfigurationError for one that can't be kept."""
    from waypost.state import of_numpy, of_protocols, of_torch  # they need Array

    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return of_torch.array_of(torch, value, name)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return of_numpy.array_of(numpy, value, name)
    if isinstance(value, HostArray):
        return of_protocols.of_plain(value)
    if isinstance(value, bytes | bytearray):
        return of_protocols.of_bytes(value)
    return of_protocols.array_of(value, name)
