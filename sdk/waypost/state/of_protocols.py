"""Arrays by the protocols of the field: Python's buffers, numpy's array interface, DLPack.

https://docs.python.org/3/c-api/buffer.html, https://numpy.org/doc/stable/reference/arrays.interface.html,
https://dmlc.github.io/dlpack/latest/c_api.html. What they give needs no library; where an array is strided and numpy
can be imported, numpy reads it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import math
from collections.abc import Sequence
from typing import Any, Final

from waypost.state import dtypes
from waypost.state.arrays import Array, host_view, refused
from waypost.state.plain import HostArray

_HOST: Final = (1, 3)
"""DLPack's kDLCPU and kDLCUDAHost: memory that this process can read."""
_DLTENSOR: Final = b"dltensor"


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def array_of(value: Any, name: str) -> Array | None:
    """The array that a value is by one of the protocols; None for a value that speaks none of them.

    Raises ConfigurationError for one whose elements can't be kept or reached.
    """
    withheld: Exception | None = None
    try:
        view = memoryview(value)
    except TypeError:
        pass
    except (BufferError, ValueError) as error:  # it has one, and doesn't give it: by another protocol it may
        withheld = error
    else:
        return _of_buffer(value, view, name)
    if hasattr(value, "__cuda_array_interface__"):
        raise refused(name, "an array on a CUDA device", "copy it to host memory")
    interface = getattr(value, "__array_interface__", None)
    if interface is not None:
        return _of_interface(value, interface, name)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _of_dlpack(value, name)
    if withheld is not None:
        raise refused(
            name, f"a {type(value).__name__} that doesn't give its buffer ({withheld})", "save a copy of its elements"
        ) from withheld
    return None


def of_plain(value: HostArray) -> Array:
    """The array of one that an earlier restore gave."""
    return _copied(dtypes.BY_NAME[value.dtype], value.shape, value.data.cast("B"), value.data.readonly, value)


def of_bytes(value: bytes | bytearray) -> Array:
    """Bytes as an array of bytes, which comes back as bytes."""

    def gather(view: memoryview) -> None:
        view[:] = value

    return Array(dtypes.U8, (len(value),), "bytes", value, gather=gather)


def _of_buffer(value: Any, view: memoryview, name: str) -> Array:
    found = dtypes.of_format(view.format, view.itemsize)
    if found is None or view.suboffsets:
        raise refused(name, f"a buffer of format {view.format!r}", "convert it to numbers that safetensors knows")
    dtype, little = found
    if little and view.c_contiguous:
        return _copied(dtype, view.shape or (), _bytes_of(view), view.readonly, value)

    def gather(target: memoryview) -> None:
        raw = bytearray(view.tobytes("C"))
        if not little:
            _swap(raw, dtype.size)
        target[:] = raw

    return Array(dtype, tuple(view.shape or ()), "plain", value, gather=gather)


def _copied(dtype: dtypes.Dtype, shape: Sequence[int], raw: memoryview, readonly: bool, owner: Any) -> Array:
    """An array whose bytes stand in the file's form in a buffer."""

    def gather(view: memoryview) -> None:
        view[:] = raw

    def scatter(view: memoryview) -> None:
        raw[:] = view

    return Array(
        dtype, tuple(shape), "plain", owner, gather=gather, scatter=None if readonly else scatter, writable=not readonly
    )


def _bytes_of(view: memoryview) -> memoryview:
    """A contiguous buffer as bytes; `cast` refuses formats with an explicit byte order, which ctypes has."""
    if view.nbytes and view.format[0] not in "<>=!":
        return view.cast("B")
    if view.readonly or not view.nbytes:
        return memoryview(view.tobytes())
    return host_view(ctypes.addressof(ctypes.c_char.from_buffer(view)), view.nbytes)


def _swap(raw: bytearray, size: int) -> None:
    """The other byte order, in place."""
    for low in range(size // 2):
        high = size - 1 - low
        raw[low::size], raw[high::size] = raw[high::size], raw[low::size]


def _of_interface(value: Any, interface: dict[str, Any], name: str) -> Array:
    found = dtypes.of_typestr(interface["typestr"])
    if found is None:
        raise refused(name, f"an array of {interface['typestr']!r}", "convert it to numbers that safetensors knows")
    dtype, little = found
    shape, data = tuple(interface["shape"]), interface.get("data")
    if not little or interface.get("mask") is not None or not isinstance(data, tuple):
        return _through_numpy(value, name, "asarray")
    if not _in_c_order(shape, interface.get("strides"), dtype.size):
        return _through_numpy(value, name, "asarray")
    address, readonly = data
    return Array(dtype, shape, "plain", value, address=address, writable=not readonly)


def _of_dlpack(value: Any, name: str) -> Array:
    device, _ = value.__dlpack_device__()
    if int(device) not in _HOST:
        raise refused(name, f"an array on a device (DLPack's type {int(device)})", "copy it to host memory")
    capsule = value.__dlpack__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    found = _DLTensor.from_address(pointer(capsule, _DLTENSOR))
    dtype = dtypes.BY_DLPACK.get((found.code, found.bits)) if found.lanes == 1 else None
    if dtype is None or not dtypes.NATIVE_IS_LITTLE:
        what = f"an array of DLPack's type {found.code} with {found.bits} bits"
        raise refused(name, what, "convert it to numbers that safetensors knows")
    shape = tuple(found.shape[index] for index in range(found.ndim))
    strides = None
    if found.strides:
        strides = tuple(found.strides[index] * dtype.size for index in range(found.ndim))
    if not _in_c_order(shape, strides, dtype.size):
        return _through_numpy(value, name, "from_dlpack")
    # As long as the capsule lives, so does the memory: nobody has taken it over, so its destructor gives it back.
    address = (found.data or 0) + found.byte_offset
    return Array(dtype, shape, "plain", (value, capsule), address=address)


def _in_c_order(shape: Sequence[int], strides: Sequence[int] | None, size: int) -> bool:
    if strides is None or not math.prod(shape):
        return True
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != size:
            return False
        size *= length
    return True


def _through_numpy(value: Any, name: str, function: str) -> Array:
    """An array that isn't in C order: numpy knows how to read it."""
    from waypost.state import of_numpy

    try:
        numpy = importlib.import_module("numpy")
    except ImportError as error:
        raise refused(
            name, "an array that isn't contiguous", "make it so, or install numpy, which can read it"
        ) from error
    found = of_numpy.array_of(numpy, getattr(numpy, function)(value), name)
    return dataclasses.replace(found, origin="plain", writable=False)
