"""A state as content of a save: the image of its file, in memory that the program doesn't change.

The caller may change the state as soon as the content is there, unless `in_place` says that it reads the state itself.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.state import structure
from waypost.state.arrays import Array, host_view
from waypost.state.buffers import Buffer, Buffers
from waypost.state.copying import Block, copy
from waypost.state.safetensors import Layout, Tensor, lay_out
from waypost.store.keys import MIB
from waypost.store.sources import Content, Data, SharedMemory
from waypost.store.tree import Kind, Node

STATE_NAME: Final = b"state.safetensors"
STRUCTURE: Final = "waypost.state"
"""In the metadata of the file: the nested structure and the plain values, as JSON."""
_MODE: Final = 0o644
SMALL: Final = MIB
"""Up to so much is copied into memory of its own: a buffer wouldn't be any quicker."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the file of a state will look, and what goes where."""

    layout: Layout
    placed: list[tuple[Tensor, Array]]


def content_of(state: Mapping[Any, Any], buffers: Buffers, displace: Callable[[], object]) -> Content:
    """A copy of the state, or the state in place, with a warning, where no memory for a copy is to be had.

    `displace` gives up a save that waits behind another one, and with it its buffer, if it has one. Raises
    ConfigurationError for what can't be saved.
    """
    wanted = plan(state)
    content = snapshot(wanted, buffers)
    if content is None:
        displace()
        content = snapshot(wanted, buffers)  # also if none waited: its upload has begun, so the one before is over
    if content is None:
        logger.warning(
            "there is no memory for a copy of the %.1f MiB of state to save them in the background; this save blocks "
            "until it is durable. Give the container more memory",
            wanted.layout.size / MIB,
        )
        content = in_place(wanted)
    return content


def plan(state: Mapping[Any, Any]) -> Plan:
    """Look at a state, without touching its elements. Raises ConfigurationError for what can't be saved."""
    described = structure.describe(state)
    tensors = [(name, array.dtype, array.shape) for name, array in described.arrays.items()]
    try:
        layout = lay_out(tensors, {STRUCTURE: structure.encode(described.form)})
    except ValueError as error:
        raise ConfigurationError(f"can't save the state: {error}") from error
    return Plan(layout, [(tensor, described.arrays[tensor.name]) for tensor in layout.tensors])


def snapshot(wanted: Plan, buffers: Buffers) -> Content | None:
    """A copy of the state; None when no buffer is free or the memory isn't there."""
    layout = wanted.layout
    if layout.size <= SMALL:
        small = bytearray(layout.size)
        small[: len(layout.head)] = layout.head
        _fill(wanted, memoryview(small), None)
        return _content(layout, [bytes(small)], copied=True)
    buffer = buffers.borrow(layout.size)
    if buffer is None:
        return None
    try:
        buffer.memory[: len(layout.head)] = layout.head
        with memoryview(buffer.memory) as view:
            _fill(wanted, view, buffer)
    except BaseException:
        buffers.give_back(buffer)
        raise
    content = _content(layout, SharedMemory(buffer.descriptor, 0, layout.size), copied=True)
    content.release = lambda: buffers.give_back(buffer)
    return content


def in_place(wanted: Plan) -> Content:
    """The state where it stands, for a caller that keeps it unchanged until the save has ended."""
    pieces: list[Data] = [wanted.layout.head]
    for tensor, array in wanted.placed:
        size = tensor.end - tensor.start
        if array.address is not None:
            pieces.append(host_view(array.address, size))
        else:
            assert array.gather is not None
            gathered = bytearray(size)
            array.gather(memoryview(gathered))
            pieces.append(memoryview(gathered))
    content = _content(wanted.layout, pieces, copied=False)
    content.release = wanted.placed.clear  # until then it holds the arrays, whose memory is read
    return content


def _fill(wanted: Plan, view: memoryview, buffer: Buffer | None) -> None:
    """Put every array at its place."""
    blocks: list[Block] = []
    for tensor, array in wanted.placed:
        target = view[tensor.start : tensor.end]
        if array.gather is not None:
            array.gather(target)
        elif buffer is not None and array.address is not None:
            blocks.append(Block(buffer.address + tensor.start, array.address, len(target)))
        elif array.address is not None:
            target[:] = host_view(array.address, len(target))
        target.release()
    copy(blocks)


def _content(layout: Layout, place: list[Data] | list[bytes] | SharedMemory, *, copied: bool) -> Content:
    node = Node(STATE_NAME, Kind.FILE, _MODE, time.time_ns(), layout.size)
    return Content([node], [place], copied=copied)
