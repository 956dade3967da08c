"""Run with a Python that has torch: tensors of every kind through a store, new and into those that are there.

Arguments: the store's URI. It fails by an assertion.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

import waypost


def tensors() -> dict[str, torch.Tensor]:
    """Of every element type, layout and size that a program may have, two of them one."""
    base = torch.randn(64, 64)
    complex_base = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    return {
        "complex base": complex_base,
        "conjugated beside its base": complex_base.conj(),
        "imaginary": complex_base.imag,
        "imaginary and negated": complex_base.conj().imag,
        "base": base,
        "tied": base,
        "transposed": base.t(),
        "view": base.view(-1),
        "parameter": torch.nn.Parameter(torch.randn(3, 5)),
        "bfloat16": torch.randn(7).bfloat16(),
        "float8": torch.randn(8).to(torch.float8_e4m3fn),
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3.5),
        "bool": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j], dtype=torch.complex64),
        "conjugated": torch.tensor([1 + 2j], dtype=torch.complex64).conj(),
        "negated": torch.tensor([1 + 2j], dtype=torch.complex64).conj().imag,
        "expanded": torch.ones(1).expand(5),
        "large": torch.randn(2**20),
    }


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal in type, shape and values."""
    if left.dtype is torch.float8_e4m3fn:
        left, right = left.float(), right.float()
    return bool(left.dtype == right.dtype and left.shape == right.shape and torch.equal(left.detach(), right.detach()))


def arrays_come_back(store: waypost.Checkpoints) -> None:
    state = tensors()
    store.save(state, wait=True)
    found = store.restore_state()
    assert found is not None
    assert all(same(found.state[name], tensor) for name, tensor in state.items())
    assert found.state["base"] is found.state["tied"]
    there = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    there["transposed"] = torch.zeros(64, 64).t()
    there["parameter"] = torch.nn.Parameter(torch.zeros(3, 5))
    found = store.restore_state(into=there)
    assert found is not None
    assert all(found.state[name] is there[name] and same(there[name], state[name]) for name in state)


class Wrapper(torch.Tensor):  # type: ignore[misc]  # torch is no package of the type checker's
    """As quantized weights are: around other tensors, without memory of its own."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            return cls(arguments[0].inner)
        raise NotImplementedError(str(function))


def what_has_no_elements_is_refused(store: waypost.Checkpoints) -> None:
    sparse, nowhere = torch.eye(3).to_sparse(), torch.empty(3, device="meta")
    for value in (sparse, nowhere, torch.zeros(2, dtype=torch.complex128), Wrapper(torch.ones(3))):
        try:
            store.save({"x": value})
        except waypost.ConfigurationError:
            continue
        raise AssertionError(f"saved {value}")


def an_optimizer_goes_on(store: waypost.Checkpoints) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.BatchNorm1d(10))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 10)).sum().backward()
    optimizer.step()
    store.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, wait=True)
    found = store.restore_state()
    assert found is not None
    again = torch.optim.AdamW(model.parameters())
    again.load_state_dict(found.state["optimizer"])
    model.load_state_dict(found.state["model"])
    averages = [group.state_dict()["state"][0]["exp_avg"] for group in (optimizer, again)]
    assert torch.equal(*averages)


with waypost.Checkpoints(sys.argv[1], attempt=1) as opened:
    arrays_come_back(opened)
    what_has_no_elements_is_refused(opened)
    an_optimizer_goes_on(opened)
