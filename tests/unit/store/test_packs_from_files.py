"""Packs of large files and of states are sent from where they stand: the same packs, of the bytes that were hashed."""

from __future__ import annotations

import errno
import functools
import gc
import mmap
import os
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.put_server import PutServer, Request, calls_to
from tests.unit.store.stepped import SteppedBackend
from waypost.backends.aligned import mapped
from waypost.backends.checksums import Known
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.errors import StorageError
from waypost.store import keys, looking, sending
from waypost.store.calls import Budget, Calls
from waypost.store.keys import MIB
from waypost.store.manifest import Manifest
from waypost.store.packing import pack_content
from waypost.store.seams import Seams
from waypost.store.sending import Flight
from waypost.store.sizes import Sizes
from waypost.store.sources import Content, Reader, SharedMemory, look
from waypost.store.tree import Kind, Node

UPLOAD = (1, 1)
Pack = Callable[[Content, Calls, keys.Upload, Sizes], Manifest]


@pytest.fixture(params=[True, False], ids=["one thread", "two threads"])
def pack(request: pytest.FixtureRequest) -> Pack:
    """What packs, with so many threads that look at what stands in files."""
    return functools.partial(pack_content, alone=lambda: request.param)


SIZES = Sizes(pack=4 * MIB, memory=16 * MIB)


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    large = os.urandom(6 * MIB + 12345)
    (folder / "a-large").write_bytes(large)
    (folder / "b-small").write_bytes(os.urandom(70_000))
    (folder / "c-same-and-more").write_bytes(large[: 4 * MIB] + os.urandom(3 * MIB))
    with (folder / "d-sparse").open("wb") as file:
        file.write(os.urandom(MIB + 5))
        file.seek(5 * MIB)
        file.write(os.urandom(2 * MIB))
    (folder / "e-small").write_bytes(os.urandom(50_000))
    return folder


def test_packs_by_reference_are_those_that_would_have_been_sent_from_memory(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    content = look(folder_of(tmp_path))
    referred = pack(content, calls_to(backend), UPLOAD, SIZES)
    stepped = SteppedBackend()
    assert referred == pack_content(content, Calls(stepped, Seams()), UPLOAD, SIZES)
    for one in referred.packs:
        assert server.objects[f"/bucket/a%20store/{keys.PACKS}{one.name}"] == stepped.get(
            keys.PACKS + one.name, keys.MAX_PACK
        )
    assert sum(request.is_direct for request in server.requests) >= 3


def test_shared_memory_is_sent_from_where_it_is(pack: Pack, backend: ObjectStoreBackend, server: PutServer) -> None:
    data = os.urandom(6 * MIB)
    descriptor = os.memfd_create("test")
    os.pwrite(descriptor, b"before" + data, 0)
    content = Content(
        [Node(b"state", Kind.FILE, 0o644, 0, len(data))], [SharedMemory(descriptor, 6, len(data))], copied=True
    )
    packed = pack(content, calls_to(backend), UPLOAD, SIZES)
    assert b"".join(server.objects[f"/bucket/a%20store/{keys.PACKS}{pack.name}"] for pack in packed.packs) == data
    assert all(request.is_direct for request in server.requests)
    os.close(descriptor)


def test_the_second_thread_looks_unless_there_may_be_one_only(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    class Counted(looking.Looks):
        def look(self, reader: Reader, row: Sequence[tuple[int, int]]) -> Sequence[looking.Seen | None]:
            looked.append(len(row))
            return super().look(reader, row)

    monkeypatch.setattr("waypost.store.packing.Looks", Counted)
    path, turns = tmp_path / "state", iter([False, False, True])
    path.write_bytes(os.urandom(3 * looking.AT_ONCE * MIB))
    pack_content(look(path), calls_to(backend), UPLOAD, SIZES, alone=lambda: next(turns))
    assert looked == [looking.AT_ONCE] * 2, "it is asked for each row"


@pytest.mark.parametrize("refused", [False, True], ids=["sent", "refused"])
def test_a_pack_of_small_files_goes_the_same_way(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, refused: bool
) -> None:
    """Right out of the buffer that it was filled in: obstore holds three packs' worth beside."""
    files = [os.urandom(100_000) for _ in range(50)]
    for number, data in enumerate(files):
        (tmp_path / f"{number:02}").write_bytes(data)
    if refused:
        server.acts = [lambda request: request.fails("403 Forbidden", "AccessDenied")]
    packed = pack(look(tmp_path), calls_to(backend), UPLOAD, SIZES)
    packs = [server.objects[f"/bucket/a%20store/{keys.PACKS}{one.name}"] for one in packed.packs]
    assert [packs[chunk.pack][chunk.offset :][: chunk.length] for (chunk,) in packed.chunks] == files
    assert sum(not request.is_direct for request in server.requests) == refused


def test_a_refused_pack_is_sent_from_memory(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    server.acts = [lambda request: request.fails("403 Forbidden", "AccessDenied")]
    content = look(folder_of(tmp_path))
    packed = pack(content, calls_to(backend), UPLOAD, SIZES)
    assert {f"/bucket/a%20store/{keys.PACKS}{pack.name}" for pack in packed.packs} == server.objects.keys()
    assert not all(request.is_direct for request in server.requests)


@pytest.mark.parametrize("refused", [False, True], ids=["sent", "refused"])
def test_a_file_that_changes_on_its_way_fails_the_save(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, refused: bool
) -> None:
    """Once it was hashed, and before it was sent: no pack may hold anything but what its name stands for."""
    path = tmp_path / "state"
    path.write_bytes(os.urandom(12 * MIB))
    content = look(path)
    status = path.stat()

    def changes(request: Request) -> None:
        with path.open("r+b") as file:
            for at in range(0, 12 * MIB, MIB):
                file.seek(at)
                file.write(b"changed")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a mapping's writes show in no time
        takes(request)

    def takes(request: Request) -> None:
        if refused and request.is_direct:
            request.fails("403 Forbidden", "AccessDenied")
        else:
            server.take(request)

    server.acts = [changes, *[takes] * 10]
    with pytest.raises(OSError, match="changed while it was being") as caught:
        pack(content, calls_to(backend), UPLOAD, SIZES)
    assert caught.value.errno == errno.EBUSY


def test_a_file_whose_reading_fails_stays_open_until_its_packs_are_given_up(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its number would be another file's, of which they would send the rest."""
    path, leave = tmp_path / "state", Flight.__exit__
    path.write_bytes(os.urandom(12 * MIB))
    content, held = look(path), []

    def shortens(request: Request) -> None:
        os.truncate(path, 5 * MIB)
        time.sleep(0.2)
        server.take(request)

    def leaving(flight: Flight, *raised: Any) -> None:
        held.append(os.fspath(path) in _targets())
        leave(flight, *raised)

    monkeypatch.setattr(Flight, "__exit__", leaving)
    server.acts = [shortens]
    with pytest.raises(OSError, match="changed while it was being"):
        pack(content, calls_to(backend), UPLOAD, Sizes(pack=MIB, memory=4 * MIB))
    assert held == [True]
    assert os.fspath(path) not in _targets()


@pytest.mark.parametrize("sender", ["direct", "obstore"])
def test_packs_that_fail_at_first_leave_the_memory_to_others(
    pack: Pack, server: PutServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    """Without waiting for the garbage collector: a traceback holds what its frames held."""
    monkeypatch.setenv("WAYPOST_SEND", sender)
    backend = ObjectStoreBackend("s3://bucket/a store")
    backend._checks = Known()
    path, tried = tmp_path / "state", set()
    path.write_bytes(os.urandom(24 * MIB))

    def fails_once(request: Request) -> None:
        if request.path in tried:
            server.take(request)
        else:
            tried.add(request.path)
            request.fails("500 Oh", "InternalError")

    server.acts = [fails_once] * 100
    gc.collect()
    gc.disable()
    try:
        packed = pack(look(path), calls_to(backend), UPLOAD, SIZES)
    finally:
        gc.enable()
    assert len(packed.packs) == len(tried) >= 6
    backend.close()


def test_what_chunks_passed_through_is_given_back_at_once(
    pack: Pack, backend: ObjectStoreBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the garbage collector comes."""
    made: list[weakref.ref[object]] = []

    def noted(size: int) -> mmap.mmap:
        memory = mapped(size)
        made.append(weakref.ref(memory))
        return memory

    for module in (sending, looking):
        monkeypatch.setattr(module, "mapped", noted)
    path = tmp_path / "state"
    path.write_bytes(os.urandom(12 * MIB))
    gc.collect()
    gc.disable()
    try:
        pack(look(path), calls_to(backend), UPLOAD, SIZES)
        assert made
        assert not any(one() for one in made)
    finally:
        gc.enable()
    backend.close()


def test_a_change_that_no_checksum_shows_is_seen_by_its_time(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    path.write_bytes(os.urandom(12 * MIB))
    content = look(path)

    def takes_anything(request: Request) -> None:
        with path.open("r+b") as file:
            file.write(b"changed")
        request.read()
        request.says("200 OK")

    server.acts = [takes_anything] * 10
    with pytest.raises(OSError, match="it changed while it was being saved"):
        pack(content, calls_to(backend), UPLOAD, SIZES)


def test_files_that_are_referred_to_are_not_all_open_at_once(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    folder, most = tmp_path / "folder", 0
    folder.mkdir()
    for number in range(70):
        (folder / f"{number:03}").write_bytes(os.urandom(MIB + number))

    def looks(request: Request) -> None:
        nonlocal most
        names = _targets()
        most = max(most, sum(name.startswith(str(folder)) for name in names))
        server.take(request)

    server.acts = [looks] * 200
    packed = pack(look(folder), calls_to(backend), UPLOAD, SIZES)
    assert most <= 65
    whole = b"".join(server.objects[f"/bucket/a%20store/{keys.PACKS}{pack.name}"] for pack in packed.packs)
    assert whole == b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def _targets() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


def test_a_line_that_stays_down_is_named(
    pack: Pack, backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    path.write_bytes(os.urandom(2 * MIB))
    assert backend.takes_parts()
    server.close()
    calls = Calls(backend, Seams(), Budget(seconds=0.2, first_pause=0.05))
    with pytest.raises(StorageError, match="write a pack to"):
        pack(look(path), calls, UPLOAD, SIZES)
