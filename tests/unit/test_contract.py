"""The document between pod and operator: always whole, never a lower fence over a higher, never an error to read."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost import contract
from waypost.contract import DOCUMENT_SIZE, Document, Position, Transfer

numbers = st.integers(min_value=0, max_value=2**63 - 1)
positions = st.none() | st.builds(Position, sequence=numbers, step=st.none() | numbers)
transfers = st.none() | st.builds(Transfer, size_bytes=numbers, moved_bytes=numbers, milliseconds=numbers)
documents = st.builds(
    Document,
    attempt=numbers,
    fence=st.none() | numbers,
    resumed_from=positions,
    committed=positions,
    restore=transfers,
    last_save=transfers,
    stop_requested=st.booleans(),
    completed=st.booleans(),
    highest_attempt=st.none() | numbers,
    reason=st.none() | st.sampled_from([reason.value for reason in contract.DocumentReason]),
    result=st.none() | st.text(max_size=30),
    message=st.none() | st.text(max_size=30),
)


@given(documents)
def test_a_record_comes_back_as_it_was_written(document: Document) -> None:
    record = document.encode()
    assert len(record) == DOCUMENT_SIZE
    assert Document.parse(record) == document


@given(st.text(min_size=500, max_size=3000), st.text(max_size=3000), documents)
def test_long_texts_are_cut_until_the_record_fits_and_nothing_else_is_lost(
    message: str, result: str, document: Document
) -> None:
    read = Document.parse(dataclasses.replace(document, message=message, result=result).encode())
    assert read is not None
    assert dataclasses.replace(read, message=None, result=None) == dataclasses.replace(
        document, message=None, result=None
    )


@given(st.binary(max_size=3000) | st.text(max_size=3000))
def test_anything_else_in_the_message_is_no_document_and_never_an_error(raw: bytes | str) -> None:
    assert Document.parse(raw) is None


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{}",
        "null",
        '{"waypost": 1}',
        '{"waypost": 2, "attempt": 1}',
        '{"waypost": 1, "attempt": true}',
        '{"waypost": 1, "attempt": -1}',
        '{"waypost": 1, "attempt": "1"}',
        "[" * 1000,
    ],
)
def test_a_record_of_the_wrong_shape_is_no_document(record: str) -> None:
    assert Document.parse(record) is None


@pytest.mark.parametrize(
    "moved",
    [
        "null",
        "[1, 2, 3]",
        "{}",
        '{"sizeBytes": 1, "movedBytes": 1}',
        '{"sizeBytes": 1, "movedBytes": 1, "milliseconds": 1.5}',
        '{"sizeBytes": -1, "movedBytes": 1, "milliseconds": 1}',
        '{"sizeBytes": 9223372036854775808, "movedBytes": 1, "milliseconds": 1}',
        '{"sizeBytes": "1", "movedBytes": 1, "milliseconds": 1}',
    ],
)
def test_odd_numbers_of_a_transfer_are_none_and_spoil_nothing_else(moved: str) -> None:
    read = Document.parse(f'{{"waypost": 1, "attempt": 3, "restore": {moved}, "lastSave": {moved}}}')
    assert read == Document(attempt=3)


def test_the_largest_numbers_leave_room_for_words() -> None:
    most = 2**63 - 1
    position, moved = Position(most, most), Transfer(most, most, most)
    full = Document(most, most, position, position, position, moved, moved, highest_attempt=most, message="m" * 1000)
    read = Document.parse(full.encode())
    assert read is not None
    assert len(read.message or "") > 200


def test_only_the_first_kilobyte_is_read() -> None:
    assert Document.parse(Document(attempt=3).encode() + b"the program's own last words") == Document(attempt=3)


@pytest.mark.parametrize(
    ("present", "new", "stands"),
    [
        (Document(1, fence=5, completed=True), Document(1, fence=3), False),
        (Document(1, fence=5, completed=True), Document(1, fence=None), False),
        (Document(1, fence=None), Document(1, fence=3), True),
        (Document(1, fence=3), Document(1, fence=3, completed=True), True),
        (Document(1, fence=3), Document(2, fence=9), True),
    ],
)
def test_a_record_is_never_replaced_by_one_of_a_lower_or_no_fence(
    tmp_path: Path, present: Document, new: Document, stands: bool
) -> None:
    path = tmp_path / "termination-log"
    assert present.write(str(path))
    assert new.write(str(path)) is stands
    assert Document.parse(path.read_bytes()) == (new if stands else present)


def test_a_longer_message_already_in_the_file_does_not_spoil_the_record(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.write_text("x" * 5000)
    Document(7, fence=1).write(str(path))
    assert Document.parse(path.read_bytes()) == Document(7, fence=1)


WRITER = """
import sys
from waypost.contract import Document, Position
step = 0
while True:
    step += 1
    Document(1, fence=1, committed=Position(step, step), message="x" * (step % 700)).write(sys.argv[1])
    if step == 1:
        print("writing", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    for round_number in range(20):
        path = tmp_path / f"log-{round_number}"
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(chance.random() / 100)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        document = Document.parse(path.read_bytes())
        assert document is not None, f"round {round_number}: torn record {path.read_bytes()[:80]!r}"
        assert document.committed is not None


def test_the_store_of_a_task_is_named_by_its_uid_so_a_namesake_gets_another() -> None:
    first = contract.store_uri("s3://bucket/runs//", "ml", "train", "0f3c2a51-aaaa")
    assert first == "s3://bucket/runs/ml/train-0f3c2a51"
    assert first != contract.store_uri("s3://bucket/runs", "ml", "train", "1f3c2a51-aaaa")


def test_the_longest_allowed_name_leaves_room_for_any_attempt() -> None:
    assert len(contract.pod_name("x" * contract.MAX_TASK_NAME_LENGTH, 9_999_999_999)) <= 63
