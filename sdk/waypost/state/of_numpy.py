"""Arrays of numpy, of any strides and byte order; `numpy` is the module, which the program has loaded."""

from __future__ import annotations

import importlib
from typing import Any

from waypost.errors import ConfigurationError
from waypost.state import dtypes
from waypost.state.arrays import Array, refused
from waypost.state.safetensors import Tensor


def array_of(numpy: Any, value: Any, name: str) -> Array:
    """The array of a numpy array. Raises ConfigurationError for elements that safetensors hasn't."""
    if isinstance(value, numpy.ma.MaskedArray):
        raise refused(name, "a masked array", "save its data and its mask: .data and .mask")
    found = (dtypes.BY_NUMPY[value.dtype.name], True) if value.dtype.name in dtypes.BY_NUMPY else None
    found = found or dtypes.of_typestr(value.dtype.str)
    if found is None:
        raise refused(
            name, f"an array of {value.dtype}", "convert it to a type that safetensors knows (float, int, bool)"
        )
    dtype, little = found
    elements = value.dtype if little else value.dtype.newbyteorder("<")

    def in_file_form(view: memoryview) -> Any:
        return numpy.ndarray(value.shape, elements, buffer=view)

    def gather(view: memoryview) -> None:
        if view:
            in_file_form(view)[...] = value

    def scatter(view: memoryview) -> None:
        if view:
            value[...] = in_file_form(view)

    address = value.__array_interface__["data"][0]
    plain = little and value.flags.c_contiguous
    identity = ("numpy", address, value.dtype.str, value.dtype.name, value.shape, value.strides)
    return Array(
        dtype,
        tuple(value.shape),
        "numpy",
        value,
        address=address if plain else None,
        gather=None if plain else gather,
        scatter=None if plain else scatter,
        writable=value.flags.writeable,
        identity=identity if value.size else None,
    )


def empty(numpy: Any, tensor: Tensor) -> Any:
    """A new array for what a file holds. Raises ConfigurationError when its type needs ml_dtypes, which isn't there."""
    if tensor.dtype.in_numpy:
        return numpy.empty(tensor.shape, tensor.dtype.numpy)
    try:
        element = getattr(importlib.import_module("ml_dtypes"), tensor.dtype.numpy)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"can't restore {tensor.name!r} as an array of numpy: it is {tensor}, which needs the package ml_dtypes "
            f"({error}); install it, or restore with library='torch' or 'plain'"
        ) from error
    return numpy.empty(tensor.shape, element)
