"""Cuts move with the content, whatever precedes it grows by; and whatever a file claims, each byte is in one chunk."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.stepped import BUDGET, SteppedBackend, World
from tests.unit.store.test_packing import UPLOAD, content_of, unpacked
from waypost.store.calls import Calls
from waypost.store.edges import cuts, edges_of
from waypost.store.keys import KIB, MIB
from waypost.store.packing import pack_content

LEAST = 256 * KIB


def edges(file: bytes, least: int = LEAST) -> list[int]:
    return list(edges_of(lambda at, length: file[at : at + length], len(file), least))


def chunks(file: bytes, chunk: int = MIB) -> dict[str, int]:
    """The hashes of a file's chunks, and their lengths."""
    found = cuts(edges(file), 0, len(file), chunk)
    return {blake3(file[start:end]).hexdigest(): end - start for start, end in found}


def sent_after(before: bytes, after: bytes) -> float:
    """Which part of the bytes of `after` isn't in `before`."""
    known = chunks(before)
    return sum(length for digest, length in chunks(after).items() if digest not in known) / len(after)


def torch_like(tensors: list[bytes], pickle: int) -> bytes:
    """A zip as torch.save writes it: stored records, the pickle first, the data of each begins at a multiple of 64."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [("archive/data.pkl", b"p" * pickle), ("archive/byteorder", b"little")] + [
            (f"archive/data/{number}", tensor) for number, tensor in enumerate(tensors)
        ]:
            record = zipfile.ZipInfo(name)
            padding = -(file.tell() + 30 + len(name) + 4) % 64
            record.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
            archive.writestr(record, data)
    return file.getvalue()


def safetensors_like(tensors: list[bytes], note: str) -> bytes:
    ends = list(itertools.accumulate(map(len, tensors), initial=0))
    header = {"__metadata__": {"note": note}} | {
        f"t{number}": {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
        for number, (start, end) in enumerate(itertools.pairwise(ends))
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors)


def npy_like(tensors: list[bytes], note: str) -> bytes:
    text = f"{{{note}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"".join(tensors)


def some_tensors(seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    sizes = [MIB + 17, 100, 3 * MIB, 64 * KIB, 2 * MIB + 1, 5, 700 * KIB, 4 * MIB, 300 * KIB]
    return [chance.randbytes(size) for size in sizes * 3]


@pytest.mark.parametrize(
    ("write", "small", "grown"),
    [(torch_like, 1000, 1437), (safetensors_like, "a", "a" * 401), (npy_like, "a", "a" * 399)],
    ids=["torch", "safetensors", "npy"],
)
def test_one_changed_tensor_is_all_that_is_new_although_what_precedes_it_has_grown(
    write: Callable[[list[bytes], object], bytes], small: object, grown: object
) -> None:
    tensors = some_tensors()
    before = write(tensors, small)
    tensors[7] = os.urandom(len(tensors[7]))
    after = write(tensors, grown)
    changed = len(tensors[7]) / len(after)
    assert sent_after(before, after) < changed + 2.1 * MIB / len(after)
    assert sent_after(before, before) == 0


def test_each_large_record_begins_a_chunk_and_ends_one() -> None:
    tensors = some_tensors()
    file = torch_like(tensors, 1000)
    found = edges(file)
    for tensor in tensors:
        if len(tensor) >= LEAST:
            at = file.index(tensor)
            assert at in found
            assert at + len(tensor) in found


def test_records_beyond_4_gib_are_found_by_their_long_sizes() -> None:
    """The sizes and the offset stand in the extra field then; here because it says so, not because they have to."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("first", "w", force_zip64=True) as record:
            record.write(b"1" * MIB)
        archive.writestr("second", b"2" * MIB)
    written = bytearray(file.getvalue())
    at = written.index(b"PK\x01\x02")
    name_end = at + 46 + len("first")
    stored, whole = struct.unpack_from("<LL", written, at + 20)
    extra = struct.pack("<HHQQQ", 1, 24, whole, stored, 0)
    struct.pack_into("<LL", written, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", written, at + 30, len(extra))
    struct.pack_into("<L", written, at + 42, 0xFFFFFFFF)
    written[name_end:name_end] = extra
    end = written.index(b"PK\x05\x06")
    (length,) = struct.unpack_from("<L", written, end + 12)
    struct.pack_into("<L", written, end + 12, length + len(extra))
    assert bytes(written).index(b"1" * MIB) in edges(bytes(written))


def test_a_log_that_is_appended_to_sends_its_last_chunk() -> None:
    log = os.urandom(20 * MIB + 5)
    assert sent_after(log, log + b"one more line") <= (MIB + 20) / len(log)


def hostile_zip(**changed: int) -> bytes:
    file = bytearray(torch_like(some_tensors()[:3], 100))
    end = file.rindex(b"PK\x05\x06")
    at = file.index(b"PK\x01\x02")
    where = {"directory length": end + 12, "directory start": end + 16, "stored": at + 20, "header": at + 42}
    for name, value in changed.items():
        struct.pack_into("<L", file, where[name.replace("_", " ")], value)
    return bytes(file)


HOSTILE = {
    "directory beyond the end": hostile_zip(directory_start=2**32 - 2),
    "directory of 4 GiB": hostile_zip(directory_length=2**32 - 2),
    "record beyond the end": hostile_zip(stored=2**32 - 2),
    "header beyond the end": hostile_zip(header=2**32 - 2, stored=MIB),
    "zip without an end": b"PK\x03\x04" + os.urandom(2 * MIB),
    "zip64 without sizes": hostile_zip(header=0xFFFFFFFF, stored=0xFFFFFFFF),
    "safetensors, header of 2^64": struct.pack("<Q", 2**64 - 1) + b"{" + bytes(2 * MIB),
    "safetensors, deep": struct.pack("<Q", MIB) + b'{"a":' + b"[" * MIB + bytes(MIB),
    "safetensors, no offsets": struct.pack("<Q", 10) + b'{"a":null}' + bytes(2 * MIB),
    "safetensors, huge offsets": struct.pack("<Q", 39) + b'{"a":{"data_offsets":[0,1000000000000]}}' + bytes(2 * MIB),
    "npy, header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + os.urandom(2 * MIB),
    "npy, cut off": b"\x93NUMPY",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_lies_about_its_format_is_saved_as_it_is(name: str) -> None:
    file, read = HOSTILE[name], 0

    def count(at: int, length: int) -> bytes:
        nonlocal read
        read += length
        assert 0 <= at <= at + length <= len(file)
        return file[at : at + length]

    assert len(edges_of(count, len(file), LEAST)) <= 2 * len(file) / LEAST + 2
    assert read <= 2 * len(file) + 66 * KIB
    backend = SteppedBackend()
    assert unpacked(backend, pack_content(content_of(file), Calls(backend, World().seams(), BUDGET), UPLOAD)) == [file]


def test_as_many_records_as_a_directory_can_claim_make_no_more_cuts_than_the_file_has_room_for() -> None:
    """Each of 20,000 claims the same megabyte."""
    record = struct.pack("<4s4xHHHHLLLHHHHHLL", b"PK\x01\x02", 0, 0, 0, 0, 0, MIB, MIB, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = record * 20_000
    body = b"PK\x03\x04" + bytes(26) + os.urandom(2 * MIB)
    file = body + directory + struct.pack("<4s4xHHLLH", b"PK\x05\x06", 0, 0, len(directory), len(body), 0)
    assert edges(file) == []


@given(st.data())
def test_whatever_the_edges_every_byte_is_in_exactly_one_chunk(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 300))
    file = bytes(at % 251 for at in range(size))
    edges = data.draw(st.lists(st.integers(1, size + 5), max_size=40, unique=True).map(sorted))
    chunk = data.draw(st.integers(1, 50))
    start, end = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)) | st.just((0, size))))
    found = list(cuts(edges, start, end, chunk))
    assert b"".join(file[a:b] for a, b in found) == file[start:end]
    assert all(0 < b - a <= chunk for a, b in found)


@given(st.sampled_from(["torch", "safetensors", "npy"]), st.data())
def test_a_damaged_file_of_any_format_is_cut_into_all_of_its_bytes(kind: str, data: st.DataObject) -> None:
    tensors = [b"a" * 90, b"b" * 300, b"", b"c" * 70]
    whole = {
        "torch": lambda: torch_like(tensors, 50),
        "safetensors": lambda: safetensors_like(tensors, "n"),
        "npy": lambda: npy_like(tensors, "n"),
    }[kind]()
    file = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    damaged = bytes(file)
    found = edges(damaged, least=64)
    assert found == sorted(set(found))
    assert b"".join(damaged[a:b] for a, b in cuts(found, 0, len(damaged), 100)) == damaged
