"""Where to cut a file into chunks, so that what didn't change in it is the same chunk as before.

A chunk is known again by its hash, so the cuts have to move with the content. A `torch.save` file is a zip whose first
record, the pickle, may grow by some bytes from step to step: on a fixed grid everything behind it has changed then,
while each tensor's bytes are the same. So where the format says at which offset each array begins, the cuts are made
there: records of a zip (`torch.save`, `.npz`, `.keras`), tensors of safetensors, the data of `.npy`. Within a record,
and in every other file, the cuts are a grid from its start: what is appended to a log leaves all but its last chunk as
they were. Where something is inserted into the middle of it, the save before helps (`waypost.store.trails`).

What is said here are hints. A file that lies about its format is cut at odd places, and each of its bytes still stands
in exactly one chunk; how much is read and how many cuts there can be is bounded by what the file's size allows.
"""

from __future__ import annotations

import bisect
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from waypost.store.keys import KIB, MIB

Read = Callable[[int, int], bytes]
"""Offset and length to content: `read(at, length)`."""

_MAX_DIRECTORY: Final = 16 * MIB
"""A list of records that is longer isn't read, and neither is a header."""
_HEAD: Final = 16

_ZIP: Final = b"PK\x03\x04"
_ZIP_RECORD: Final = b"PK\x01\x02"
_ZIP_END: Final = b"PK\x05\x06"
_ZIP64_END: Final = b"PK\x06\x06"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_LONGEST_END: Final = 22 + 64 * KIB
_IN_ZIP64: Final = 0xFFFFFFFF
_NPY: Final = b"\x93NUMPY"


def cuts(edges: Sequence[int], start: int, end: int, chunk: int) -> Iterator[tuple[int, int]]:
    """The chunks of a file from `start` to `end`: at each edge a new one begins, and from it on every `chunk` bytes."""
    index = bisect.bisect_right(edges, start)
    base = edges[index - 1] if index else 0
    at = start
    while at < end:
        edge = edges[index] if index < len(edges) else end
        until = min(end, edge, base + ((at - base) // chunk + 1) * chunk)
        yield at, until
        if until == edge:
            base, index = edge, index + 1
        at = until


def edges_of(read: Read, size: int, least: int) -> Sequence[int]:
    """The offsets, ascending, where parts of at least `least` bytes begin or end; none where the format tells none.

    At most two for each `least` bytes of the file. Raises what `read` raises.
    """
    head = read(0, min(_HEAD, size))
    try:
        if head.startswith(_ZIP):
            parts = _zip_records(read, size, least)
        elif head.startswith(_NPY):
            parts = [(_npy_data(head), size)]
        elif head[8:9] == b"{":
            parts = _tensors(read, head, size, least)
        else:
            return ()
    except (ValueError, TypeError, LookupError, AttributeError, struct.error, RecursionError):
        return ()  # not what it seems
    return _checked(parts, size)


def _checked(parts: Sequence[tuple[int, int]], size: int) -> Sequence[int]:
    if sum(end - start for start, end in parts) > size:
        return ()  # they overlap, so it is no such file, and there might be any number
    found = {edge for part in parts for edge in part}
    return sorted(edge for edge in found if 0 < edge < size)


def _npy_data(head: bytes) -> int:
    if head[6] == 1:
        return 10 + int.from_bytes(head[8:10], "little")
    return 12 + int.from_bytes(head[8:12], "little")


def _tensors(read: Read, head: bytes, size: int, least: int) -> list[tuple[int, int]]:
    length = int.from_bytes(head[:8], "little")
    data = 8 + length
    if data >= size:
        raise ValueError("the header is longer than the file")
    parts = []
    if length <= _MAX_DIRECTORY:
        header: dict[str, Any] = json.loads(read(8, length))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            start, end = tensor["data_offsets"]
            if _is_size(start) and _is_size(end) and end - start >= least:
                parts.append((data + start, data + end))
    return parts or [(data, size)]


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _zip_records(read: Read, size: int, least: int) -> list[tuple[int, int]]:
    """The data of the large records: what lies between, small records and headers, is cut as one."""
    start, length = _zip_directory(read, size)
    if not 0 <= start <= start + length <= size or length > _MAX_DIRECTORY:
        raise ValueError("the directory can't be there")
    directory = read(start, length)
    parts: list[tuple[int, int]] = []
    at = total = 0
    while directory[at : at + 4] == _ZIP_RECORD:
        stored, whole, names, extras, comments = struct.unpack_from("<LLHHH", directory, at + 20)
        (header,) = struct.unpack_from("<L", directory, at + 42)
        extra = directory[at + 46 + names :][:extras]
        at += 46 + names + extras + comments
        if _IN_ZIP64 in (stored, whole, header):
            stored, header = _zip64_sizes(extra, stored, whole, header)
        if stored < least:
            continue
        total += stored
        if total > size:
            raise ValueError("the records overlap")
        local = read(header, 30) if header + 30 <= size else b""
        if local.startswith(_ZIP):
            names, extras = struct.unpack_from("<HH", local, 26)
            data = header + 30 + names + extras
            parts.append((data, data + stored))
    return parts


def _zip_directory(read: Read, size: int) -> tuple[int, int]:
    """Where the list of records begins, and its length."""
    behind = max(0, size - _LONGEST_END)
    tail = read(behind, size - behind)
    end = tail.rindex(_ZIP_END)
    length, start = struct.unpack_from("<LL", tail, end + 12)
    if end >= 20 and tail.startswith(_ZIP64_LOCATOR, end - 20):
        (record,) = struct.unpack_from("<Q", tail, end - 12)
        found = read(record, 56) if record + 56 <= size else b""
        if found.startswith(_ZIP64_END):
            length, start = struct.unpack_from("<QQ", found, 40)
    return start, length


def _zip64_sizes(extra: bytes, stored: int, whole: int, header: int) -> tuple[int, int]:
    """Stored size and offset of the header, from the extra field that holds those which don't fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            if whole == _IN_ZIP64:
                next(values, None)
            stored = next(values, stored) if stored == _IN_ZIP64 else stored
            header = next(values, header) if header == _IN_ZIP64 else header
            break
        at += 4 + length
    return stored, header
