"""A state out of a checkpoint: its header first, then its bytes, verified, straight to where they belong."""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from waypost.errors import ConfigurationError
from waypost.state import of_numpy, of_torch, safetensors, structure
from waypost.state.arrays import Array, Origin, array_of, host_view
from waypost.state.pages import ask_for_large_pages, untouched
from waypost.state.plain import HostArray
from waypost.state.safetensors import Tensor
from waypost.state.saving import STATE_NAME, STRUCTURE
from waypost.state.structure import Form, Leaf
from waypost.store import tree
from waypost.store.calls import Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint
from waypost.store.keys import MIB
from waypost.store.manifest import Manifest
from waypost.store.reading_into import Target, read_into
from waypost.store.tree import Kind

Library = Literal["torch", "numpy", "plain"]
_FIRST: Final = MIB
"""Bytes that are read at first: a small state is whole then, and of a large one the header is known."""


def read_state(
    calls: Calls,
    entry: Checkpoint,
    manifest: Manifest,
    into: Mapping[Any, Any] | None,
    select: str | Sequence[str] | None,
    library: Library | None,
) -> Any:
    """The state in this checkpoint, or the selected part of it, in new arrays or in those of `into`.

    Raises DamagedError, StorageError, ConfigurationError; what `into` holds then is told in `Checkpoints`.
    """
    label = f"checkpoint {entry.sequence} of {calls.backend.uri}"
    file = _File(calls, entry, manifest, label)
    tensors, form = file.describe()
    if select is not None:
        form = _selected(form, [select] if isinstance(select, str) else select, label)
    used = {(leaf.tensor, leaf.origin) for leaf in structure.leaves_of(form)}  # as many arrays as are made
    _require_memory(sum(tensors[name].end - tensors[name].start for name, _ in used), label)
    target = _New(tensors, library) if into is None else _Existing(tensors, form, into, label)
    leaves = {leaf: target.leaf(leaf) for leaf in structure.leaves_of(form)}
    file.read(target.sinks.read)
    target.sinks.finish()
    target.finish()
    texts: dict[str, bytes] = {}

    def finished(leaf: Leaf) -> Any:
        if leaf.origin != "bytes":
            return leaves[leaf]
        if leaf.tensor not in texts:
            texts[leaf.tensor] = bytes(leaves[leaf])
        return texts[leaf.tensor]  # nobody can change them: all names of one tensor share them

    return structure.build(form, finished)


class _File:
    """The file of a state in a checkpoint."""

    def __init__(self, calls: Calls, entry: Checkpoint, manifest: Manifest, label: str) -> None:
        files = [index for index, node in enumerate(manifest.nodes) if node.kind is not Kind.FOLDER]
        if len(files) != 1 or manifest.nodes[files[0]].path != STATE_NAME:
            found = ", ".join(tree.show(manifest.nodes[index].path) for index in files[:3])
            raise ConfigurationError(
                f"can't restore the state of {label}: it holds {found or 'no file'}, and a state is one file "
                f"{tree.show(STATE_NAME)}. Use restore() or read_bytes() for what was saved as a file, folder or bytes"
            )
        self._calls, self._entry, self._manifest, self._node = calls, entry, manifest, files[0]
        self._size = manifest.nodes[files[0]].size
        self._head = b""
        """As many of its first bytes as have been read."""

    def describe(self) -> tuple[Mapping[str, Tensor], Form]:
        """Its tensors by name, and the form of the state."""
        self._read_head(min(_FIRST, self._size))
        length = safetensors.header_length(self._head, self._size)
        self._require_bytes(safetensors.LENGTH + length)
        self._read_head(safetensors.LENGTH + length)
        tensors, metadata = safetensors.read_header(self._head[safetensors.LENGTH :][:length], self._size)
        by_name = {tensor.name: tensor for tensor in tensors}
        if STRUCTURE not in metadata:
            return by_name, structure.flat(iter(by_name))
        form = structure.decode(metadata[STRUCTURE], by_name.keys())
        for leaf in structure.leaves_of(form):
            tensor = by_name[leaf.tensor]
            if leaf.origin == "bytes" and (tensor.dtype.name, len(tensor.shape)) != ("U8", 1):
                raise DamagedError(f"the structure of its state takes {leaf.name!r} for bytes")
        return by_name, form

    def read(self, sinks: Mapping[Tensor, memoryview]) -> None:
        """Fill the memory of these tensors."""
        targets = []
        for tensor, memory in sinks.items():
            if tensor.end <= len(self._head):
                memory[:] = self._head[tensor.start : tensor.end]
            else:
                targets.append(Target(self._node, tensor.start, memory))
        if targets:
            read_into(self._calls, self._entry, self._manifest, targets)

    def _require_bytes(self, size: int) -> None:
        """Raises DamagedError when a hole is among the first `size` bytes: it is no text, and may cost much memory."""
        at = 0
        for chunk in self._manifest.chunks[self._node]:
            if at >= size:
                return
            if chunk.is_hole:
                raise DamagedError(f"the header of its state has a hole at {at}")
            at += chunk.length

    def _read_head(self, size: int) -> None:
        if size > len(self._head):
            head = bytearray(size)
            read_into(self._calls, self._entry, self._manifest, [Target(self._node, 0, memoryview(head))])
            self._head = bytes(head)


class _Sinks:
    """Where the bytes of tensors go."""

    def __init__(self) -> None:
        self.read: dict[Tensor, memoryview] = {}
        self._copied: list[tuple[memoryview, memoryview]] = []

    def add(self, tensor: Tensor, memory: memoryview) -> None:
        """These bytes become those of the tensor; of several for one tensor, all but the first in `finish`."""
        first = self.read.setdefault(tensor, memory)
        if first is not memory:
            self._copied.append((memory, first))

    def finish(self) -> None:
        """To be called when the first ones are read."""
        for memory, first in self._copied:
            memory[:] = first


class _New:
    """New arrays for all that is restored: one for each tensor, shared by the names that shared it."""

    def __init__(self, tensors: Mapping[str, Tensor], library: Library | None) -> None:
        if library not in (None, "torch", "numpy", "plain"):
            raise ConfigurationError(f"library is 'torch', 'numpy', 'plain' or None, not {library!r}")
        self._tensors, self._library = tensors, library
        self._made: dict[tuple[str, Origin], Any] = {}
        self.sinks = _Sinks()

    def leaf(self, leaf: Leaf) -> Any:
        origin: Origin = "bytes" if leaf.origin == "bytes" else self._library or leaf.origin
        key = (leaf.tensor, origin)
        if key not in self._made:
            tensor = self._tensors[leaf.tensor]
            self._made[key] = made = _empty(tensor, origin)
            view = _view(made)
            if len(view):
                ask_for_large_pages(ctypes.addressof(ctypes.c_char.from_buffer(view)), len(view))
            self.sinks.add(tensor, view)
        return self._made[key]

    def finish(self) -> None:
        """Everything stands in its place already."""


class _Existing:
    """The arrays that the program has. Bytes are new ones: they can't be written to."""

    def __init__(self, tensors: Mapping[str, Tensor], form: Form, into: Mapping[Any, Any], label: str) -> None:
        """Raises ConfigurationError, naming the first difference."""
        self._tensors = tensors
        self._arrays = {name: one for name, one in _leaves(into).items() if one.origin != "bytes"}
        self._later: list[tuple[Array, bytearray]] = []
        self._bytes: dict[str, bytearray] = {}
        self.sinks = _Sinks()
        wanted = {leaf.name: leaf for leaf in structure.leaves_of(form) if leaf.origin != "bytes"}
        for name, leaf in wanted.items():
            if (problem := self._difference(name, tensors[leaf.tensor])) is not None:
                raise ConfigurationError(f"can't restore the state of {label} into what was given: {name!r} {problem}")
        tied: dict[object, Leaf] = {}
        for name, leaf in wanted.items():
            if (identity := self._arrays[name].identity) is None:
                continue
            other = tied.setdefault(identity, leaf)
            if other.tensor != leaf.tensor:
                raise ConfigurationError(
                    f"can't restore the state of {label} into what was given: {other.name!r} and {name!r} are one "
                    "there, and two in the checkpoint"
                )
        for name in self._arrays:
            if name not in wanted:
                raise ConfigurationError(
                    f"can't restore the state of {label} into what was given: there it holds {name!r}, and the "
                    "checkpoint doesn't"
                )

    def _difference(self, name: str, tensor: Tensor) -> str | None:
        there = self._arrays.get(name)
        if there is None:
            return "isn't there"
        if (there.dtype, there.shape) != (tensor.dtype, tensor.shape):
            return f"is {there} there, and {tensor} in the checkpoint"
        if not there.writable:
            return "can't be written to there"
        return None

    def leaf(self, leaf: Leaf) -> Any:
        tensor = self._tensors[leaf.tensor]
        if leaf.origin == "bytes":
            if leaf.tensor not in self._bytes:
                self._bytes[leaf.tensor] = made = bytearray(tensor.end - tensor.start)
                self.sinks.add(tensor, memoryview(made))
            return self._bytes[leaf.tensor]
        there = self._arrays[leaf.name]
        if there.address is not None:
            view = host_view(there.address, there.size)
        else:
            passing = bytearray(there.size)
            self._later.append((there, passing))
            view = memoryview(passing)
        self.sinks.add(tensor, view)
        return there.owner

    def finish(self) -> None:
        """Hand over what couldn't be written in place: to a device, to strides, in another byte order."""
        for there, passing in self._later:
            assert there.scatter is not None
            there.scatter(memoryview(passing))


def _leaves(into: Mapping[Any, Any]) -> Mapping[str, Array]:
    try:
        return structure.describe(into).leaves
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("can't save the state", "can't restore into this state")) from error


def _selected(form: Form, paths: Sequence[str], label: str) -> Form:
    try:
        return structure.select(form, paths)
    except KeyError as error:
        raise ConfigurationError(
            f"can't select {error.args[0]!r}: the state of {label} has nothing of that name (keys joined by dots, "
            "through mappings only)"
        ) from error


def _empty(tensor: Tensor, origin: Origin) -> Any:
    if origin == "bytes":
        return bytearray(tensor.end - tensor.start)
    if origin == "plain":
        return HostArray(tensor.dtype.name, tensor.shape, untouched(tensor.end - tensor.start))
    try:
        module = importlib.import_module(origin)
    except ImportError as error:
        raise ConfigurationError(
            f"can't restore {tensor.name!r} for {origin}, which isn't installed here ({error}); install it, or restore "
            "with another library= ('plain' needs none)"
        ) from error
    return of_torch.empty(module, tensor) if origin == "torch" else of_numpy.empty(module, tensor)


def _view(made: Any) -> memoryview:
    """The bytes of an array that was just made."""
    if isinstance(made, bytearray):
        return memoryview(made)
    if isinstance(made, HostArray):
        return made.data
    array = array_of(made, "")
    assert array is not None
    assert array.address is not None
    return host_view(array.address, array.size)


def _require_memory(size: int, label: str) -> None:
    """A few bytes of an entry may declare an enormous hole."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > most:
        raise ConfigurationError(
            f"can't restore the state of {label}: it has {size} bytes, more than this machine has memory"
        )
