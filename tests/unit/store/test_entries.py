"""Log entries: what is written is read back, and nothing else is ever taken for an entry."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from waypost.store import keys
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import (
    Checkpoint,
    Complete,
    Entry,
    Fence,
    ManifestObject,
    Pin,
    Prune,
    Unpin,
    decode,
)
from waypost.store.sequences import Sequences

numbers = st.integers(min_value=0, max_value=2**63 - 1)
texts = st.text(max_size=20)
live = st.builds(Sequences.of, st.lists(st.integers(min_value=1, max_value=1000), max_size=10))
times = st.datetimes(
    min_value=datetime.datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime.datetime(2500, 1, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
).map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))
names = st.builds(
    keys.object_name, numbers, st.integers(1, 10**6), st.binary(max_size=3).map(lambda data: blake3(data).hexdigest())
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    common: dict[str, Any] = {
        "sequence": 1001,
        "attempt": draw(numbers),
        "fence": draw(numbers),
        "nonce": draw(texts),
        "time": draw(times),
        "live": draw(live),
        "pinned": draw(live),
    }
    kind = draw(st.sampled_from([Fence, Checkpoint, Complete, Prune, Pin, Unpin]))
    if kind is Fence:
        return Fence(**common, pod=draw(st.none() | texts))
    if kind is Prune:
        return Prune(**common, prunes=draw(live))
    if kind is Pin or kind is Unpin:
        return kind(**common, target=draw(st.integers(1, 1000)))
    if kind is Complete:
        return Complete(**common)
    manifest = st.builds(
        ManifestObject, name=names, size=st.integers(0, keys.MAX_MANIFEST), digest=texts
    ) | st.dictionaries(texts, json_values, max_size=3)
    return Checkpoint(
        **common,
        step=draw(st.none() | numbers),
        metrics=draw(st.dictionaries(texts, st.floats(allow_nan=False) | st.integers(), max_size=3)),
        metadata=draw(st.dictionaries(texts, json_values, max_size=3)),
        parent=draw(st.none() | st.integers(1, 1000)),
        size=draw(numbers),
        manifest=draw(st.none() | manifest),
        data=draw(st.none() | st.binary(max_size=50)),
    )


@given(entries())
def test_what_is_written_is_read_back(entry: Entry) -> None:
    assert decode(entry.encode(), entry.sequence) == entry


@given(entries(), st.data())
def test_no_changed_byte_goes_unnoticed(entry: Entry, data: st.DataObject) -> None:
    raw = bytearray(entry.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnreadableEntryError):
        decode(bytes(raw), entry.sequence)


@given(entries(), st.data())
def test_no_truncation_goes_unnoticed(entry: Entry, data: st.DataObject) -> None:
    raw = entry.encode()
    with pytest.raises(UnreadableEntryError):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))], entry.sequence)


@given(st.binary(max_size=300))
def test_whatever_stands_there_is_an_entry_or_unreadable(raw: bytes) -> None:
    with pytest.raises(UnreadableEntryError):
        decode(raw, 1)


def signed(record: object) -> bytes:
    """Anything, with a check that fits: what an enemy, or a newer version, may put there."""
    body = json.dumps(record).encode()[:-1]
    return body + b',"check":"' + blake3(body).hexdigest().encode() + b'"}'


def plain(**changes: object) -> dict[str, object]:
    record: dict[str, object] = {
        "type": "CHECKPOINT",
        "sequence": 7,
        "attempt": 1,
        "fence": 1,
        "nonce": "n",
        "time": "2026-11-23T00:00:00.000Z",
        "live": [[7, 7]],
        "pinned": [],
        "step": None,
        "metrics": {},
        "metadata": {},
        "parent": None,
        "size": 0,
        "manifest": {},
    }
    return {name: value for name, value in (record | changes).items() if value is not ...}


def test_the_plain_entry_of_these_tests_is_one() -> None:
    assert isinstance(decode(signed(plain()), 7), Checkpoint)
    assert isinstance(decode(signed(plain(unknown=1)), 7), Checkpoint), "unknown members are ignored"


@given(st.dictionaries(st.sampled_from(sorted(plain())), json_values, max_size=3))
def test_a_malformed_entry_is_unreadable_and_never_a_crash(changes: dict[str, object]) -> None:
    try:
        decode(signed(plain(**changes)), 7)
    except UnreadableEntryError:
        return


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "MERGE"},
        {"type": None},
        {"sequence": 8},
        {"sequence": 7.0},
        {"attempt": -1},
        {"attempt": True},
        {"attempt": 2**63},
        {"fence": "1"},
        {"nonce": 1},
        {"time": "yesterday"},
        {"time": "2026-11-23T00:00:00"},
        {"live": [[1, 8]]},
        {"live": [[2, 1]]},
        {"live": [[1, 2], [2, 3]]},
        {"live": "all"},
        {"pinned": ...},
        {"parent": 7},
        {"parent": 0},
        {"size": -1},
        {"manifest": ...},
        {"manifest": []},
        {"metrics": {"loss": "high"}},
        {"data": "not base64!"},
        {"manifest": ..., "manifestObject": {"name": "../../etc/passwd", "size": 1, "blake3": "x"}},
        {"manifest": ..., "manifestObject": {"name": "x", "size": 10**12, "blake3": "x"}},
    ],
)
def test_each_of_these_is_unreadable(changes: dict[str, object]) -> None:
    with pytest.raises(UnreadableEntryError):
        decode(signed(plain(**changes)), 7)


def test_deep_nesting_is_unreadable_and_no_crash() -> None:
    body = b'{"a":' * 50_000 + b"1" + b"}" * 49_999
    raw = body + b',"check":"' + blake3(body).hexdigest().encode() + b'"}'
    with pytest.raises(UnreadableEntryError):
        decode(raw, 1)


def test_numbers_that_json_does_not_have_survive() -> None:
    """A run whose loss became NaN still has to be saved."""
    metrics = {"nan": float("nan"), "up": float("inf"), "down": float("-inf")}
    entry = decode(signed(plain(metrics={"nan": "NaN", "up": "Infinity", "down": "-Infinity"})), 7)
    assert isinstance(entry, Checkpoint)
    assert str(entry.metrics) == str(metrics)
    assert b"NaN," not in entry.encode()


@given(st.integers(1, 2**63 - 1))
def test_a_key_leads_back_to_its_number_and_newer_ones_sort_first(sequence: int) -> None:
    assert keys.log_sequence(keys.log_key(sequence)) == sequence
    assert keys.log_key(sequence) < keys.log_key(sequence - 1)


@pytest.mark.parametrize(
    "key", ["log/", "log/1.json", "log/99999999999999999999.json", "log/0" * 4, "log/\u0660" * 20 + ".json", "x/y"]
)
def test_other_keys_are_no_entries(key: str) -> None:
    assert keys.log_sequence(key) is None
