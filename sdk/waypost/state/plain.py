"""An array that belongs to no library: what a restore gives where neither torch nor numpy is wanted or there."""

from __future__ import annotations

import dataclasses
from typing import Any

from waypost.state import dtypes


@dataclasses.dataclass(frozen=True, slots=True)
class HostArray:
    """Elements in host memory, in C order and little-endian. `numpy.asarray(it)` shares the memory."""

    dtype: str
    """As safetensors calls it: `F32`, `BF16`, `I64`, ..."""
    shape: tuple[int, ...]
    data: memoryview
    """The bytes, writable."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """numpy's protocol, version 3. Raises AttributeError for a type that numpy hasn't (BF16 and the F8 ones)."""
        dtype = dtypes.BY_NAME[self.dtype]
        if not dtype.in_numpy:
            raise AttributeError(f"numpy has no element type {self.dtype}")
        return {"version": 3, "typestr": dtype.numpy, "shape": self.shape, "data": self.data, "strides": None}
