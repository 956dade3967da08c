"""The element types that a state may have: those of the safetensors format, and what others call them.

All are little-endian in the file, and C order is the only order.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True)
class Dtype:
    """One element type."""

    name: str
    """In safetensors."""
    size: int
    """Bytes of an element."""
    torch: str
    """The attribute of that name in torch."""
    numpy: str
    """numpy's type string; the name in the package ml_dtypes where numpy itself has no such type."""
    dlpack: tuple[int, int]
    """DLPack's type code and bits (DLDataTypeCode in dlpack.h, version 1.1)."""

    @property
    def in_numpy(self) -> bool:
        """Whether numpy has this type without ml_dtypes."""
        return self.numpy[0] in "|<"


_TABLE: Final = (
    Dtype("BOOL", 1, "bool", "|b1", (6, 8)),
    Dtype("U8", 1, "uint8", "|u1", (1, 8)),
    Dtype("I8", 1, "int8", "|i1", (0, 8)),
    Dtype("F8_E5M2", 1, "float8_e5m2", "float8_e5m2", (12, 8)),
    Dtype("F8_E4M3", 1, "float8_e4m3fn", "float8_e4m3fn", (10, 8)),
    Dtype("F8_E8M0", 1, "float8_e8m0fnu", "float8_e8m0fnu", (14, 8)),
    Dtype("I16", 2, "int16", "<i2", (0, 16)),
    Dtype("U16", 2, "uint16", "<u2", (1, 16)),
    Dtype("F16", 2, "float16", "<f2", (2, 16)),
    Dtype("BF16", 2, "bfloat16", "bfloat16", (4, 16)),
    Dtype("I32", 4, "int32", "<i4", (0, 32)),
    Dtype("U32", 4, "uint32", "<u4", (1, 32)),
    Dtype("F32", 4, "float32", "<f4", (2, 32)),
    Dtype("C64", 8, "complex64", "<c8", (5, 64)),
    Dtype("I64", 8, "int64", "<i8", (0, 64)),
    Dtype("U64", 8, "uint64", "<u8", (1, 64)),
    Dtype("F64", 8, "float64", "<f8", (2, 64)),
)

BY_NAME: Final = {dtype.name: dtype for dtype in _TABLE}
BY_TORCH: Final = {dtype.torch: dtype for dtype in _TABLE}
BY_NUMPY: Final = {dtype.numpy: dtype for dtype in _TABLE}
BY_DLPACK: Final = {dtype.dlpack: dtype for dtype in _TABLE}
U8: Final = BY_NAME["U8"]

NATIVE_IS_LITTLE: Final = sys.byteorder == "little"
_KINDS: Final = {"?": "b", "e": "f", "f": "f", "d": "f", **dict.fromkeys("bhilqn", "i"), **dict.fromkeys("BHILQN", "u")}
"""By the letter of a buffer's format (module struct): numpy's letter for the kind."""


def of_typestr(typestr: str) -> tuple[Dtype, bool] | None:
    """The type that numpy writes so (`<f4`), and whether it stands there little-endian; None for any other."""
    order, rest = typestr[:1], typestr[1:]
    dtype = BY_NUMPY.get(f"<{rest}") or BY_NUMPY.get(f"|{rest}")
    if dtype is None or order not in ("<", ">", "|", "="):
        return None
    return dtype, dtype.size == 1 or order == "<" or (order == "=" and NATIVE_IS_LITTLE)


def of_format(form: str, size: int) -> tuple[Dtype, bool] | None:
    """The type of a buffer with this format and item size, and whether it is little-endian; None for any other."""
    order = form[0] if form[:1] in tuple("@=<>!") else "@"
    kind = _KINDS.get(form.removeprefix(order))
    if kind is None:
        return None
    native = "<" if NATIVE_IS_LITTLE else ">"
    return of_typestr({"<": "<", ">": ">", "!": ">"}.get(order, native) + f"{kind}{size}")
