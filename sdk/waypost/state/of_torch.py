"""Tensors of torch, on any device; `torch` is the module, which the program has loaded."""

from __future__ import annotations

from typing import Any

from waypost.errors import ConfigurationError
from waypost.state import dtypes
from waypost.state.arrays import Array, refused
from waypost.state.safetensors import Tensor


def array_of(torch: Any, value: Any, name: str) -> Array:
    """The array of a tensor. Raises ConfigurationError for one without plain elements of its own."""
    if hasattr(value, "to_local"):
        raise refused(name, "a distributed tensor", "save its part in each rank: to_local()")
    if value.layout is not torch.strided:
        raise refused(name, f"a tensor of layout {value.layout}", "make it dense: to_dense()")
    dtype = dtypes.BY_TORCH.get(str(value.dtype).removeprefix("torch."))
    if dtype is None:
        raise refused(name, f"a tensor of {value.dtype}", "convert it to a type that safetensors knows")
    if value.device.type == "meta":
        raise refused(name, "a tensor on the device 'meta'", "it has no elements to keep")
    tensor = value.detach()
    shape = tuple(tensor.shape)
    start = _start(tensor)
    if start is None and tensor.numel() and type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise refused(
            name, f"a {type(tensor).__name__} without memory of its own", "save the tensors that it is made of"
        )

    def gather(view: memoryview) -> None:
        if view:
            torch.frombuffer(view, dtype=tensor.dtype).view(shape).copy_(tensor)

    def scatter(view: memoryview) -> None:
        if view:
            tensor.copy_(torch.frombuffer(view, dtype=tensor.dtype).view(shape))

    plain = (
        (start is not None or not tensor.numel())
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
        and dtypes.NATIVE_IS_LITTLE
    )
    lazily = (tensor.is_conj(), tensor.is_neg())  # what stands there is read as something else
    identity = ("torch", str(tensor.device), start, str(tensor.dtype), shape, tuple(tensor.stride()), lazily)
    return Array(
        dtype,
        shape,
        "torch",
        value,
        address=start or 0 if plain else None,
        gather=None if plain else gather,
        scatter=None if plain else scatter,
        writable=True,
        identity=None if start is None else identity,
    )


def _start(tensor: Any) -> int | None:
    """Where the elements begin; None where there are none, or no memory that is the tensor's own (a wrapper around
    other tensors, some devices): such tensors say 0, all of them."""
    try:
        return tensor.data_ptr() or None if tensor.numel() else None
    except RuntimeError:
        return None


def empty(torch: Any, tensor: Tensor) -> Any:
    """A new tensor for what a file holds. Raises ConfigurationError when this torch hasn't the type."""
    dtype = getattr(torch, tensor.dtype.torch, None)
    if dtype is None:
        raise ConfigurationError(
            f"can't restore {tensor.name!r}: it is {tensor}, which torch {torch.__version__} doesn't know; install a "
            "newer one, or restore with library='plain'"
        )
    return torch.empty(tensor.shape, dtype=dtype)
