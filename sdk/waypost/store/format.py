"""What stands in a store before its first entry: format.json, and the proof that the place can do what we rely on.

The mode is a property of the store, settled once: a later attempt that finds format.json never asks the server again
whether it honours conditional writes, so a passing trouble can't split a store into two modes (rule 11). Only two
things mean that it doesn't: a second put-if-absent of a key that succeeds, or the server's own "not implemented".
Anything else that goes wrong during the probe is a StorageError, and settles nothing.
"""

from __future__ import annotations

import enum
import functools
import json
from typing import Final

from waypost.backends.protocol import BackendError, ExistsError, UnreachableError, UnsupportedError, throw_away_key
from waypost.errors import ConfigurationError, StorageError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.damage import DamagedError
from waypost.store.journal import Journal
from waypost.store.scoped import ScopedJournal
from waypost.store.scopes import placed

FORMAT: Final = 1

_MAX_FORMAT_FILE: Final = 64 * keys.KIB
_RACERS: Final = 8
_RACES: Final = 3
_READING: Final = "read format.json of"
_MORE_LOOKS: Final = 4
_FIRST_FENCE: Final = 1
"""What a new store is tried with is named by this, and so is collected by the second attempt at the earliest: as that
one finds a format.json, whoever is still trying then (paused since before it was written) can't begin the store.
"""


class Mode(enum.StrEnum):
    """By which rules the log of a store is written: what its place could do when it was new."""

    CONDITIONAL = "conditional"
    """Every entry is put only if its key is absent."""
    SCOPED = "scoped"
    """Every writer has keys of its own, and believes what a LIST shows behind its PUT."""


def journal_of(mode: Mode | None, calls: Calls) -> Journal:
    """The log of a store in this mode; of a store that doesn't exist yet, one that is empty."""
    return ScopedJournal(calls) if mode is Mode.SCOPED else ConditionalJournal(calls)


def known_mode(calls: Calls) -> Mode | None:
    """The mode of the store, None when it doesn't exist yet (has no format.json).

    Raises ConfigurationError for a format or mode that it can't, StorageError when the file makes no sense.
    """
    raw, patience = _read(calls), calls.patience()
    for _ in range(_MORE_LOOKS):  # it has no hash of its own, and a poor place shows it before its content
        if raw is None or _is_ours(raw) or not patience.pause(UnreachableError("it is no format file")):
            break
        raw = _read(calls)
    if raw is None:
        return None
    try:
        record = json.loads(raw)
        version, mode = record["format"], record["mode"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise StorageError(
            _READING, calls.backend.uri, f"it is no format file: {raw[:80]!r}", advice="Is this a checkpoint store?"
        ) from error
    if version != FORMAT or mode not in list(Mode):
        raise ConfigurationError(
            f"the store {calls.backend.uri} has format {version!r} in mode {mode!r}, and this version of Waypost knows "
            f"only format {FORMAT} in mode {' or '.join(Mode)}; use a newer Waypost, or another URI"
        )
    return Mode(mode)


def _read(calls: Calls) -> bytes | None:
    try:
        return calls.get(_READING, keys.FORMAT_KEY, _MAX_FORMAT_FILE)
    except DamagedError as error:
        raise StorageError(_READING, calls.backend.uri, str(error), advice="Is this a checkpoint store?") from error


def _is_ours(raw: bytes) -> bool:
    try:
        record = json.loads(raw)
        return bool(record["format"] == FORMAT and record["mode"] in list(Mode))
    except (ValueError, RecursionError, TypeError, KeyError):
        return False


def prepare(calls: Calls) -> Mode:
    """Make sure that the store has its format.json, probing the place first if it hasn't; return its mode.

    Raises StorageError.
    """
    known = known_mode(calls)
    if known is not None:
        return known
    if found := calls.list("list the log of", keys.LOG, "", 1):
        mode = Mode.CONDITIONAL if placed(found[0]) is None else Mode.SCOPED
        raise StorageError(
            _READING,
            calls.backend.uri,
            "it is missing, though the store has a log",
            advice="Something deleted it; without it nobody knows by which rules the log was written. Restore the "
            f'file ({{"format": {FORMAT}, "mode": "{mode}"}} if Waypost wrote the log), or use another URI',
        )
    mode = probe(calls)
    _write(calls, mode)
    known = known_mode(calls)
    if known is None:
        raise StorageError(_READING, calls.backend.uri, "it was written and can't be read back")
    if mode is Mode.SCOPED and known is Mode.CONDITIONAL:
        raise StorageError(
            "probe",
            calls.backend.uri,
            "another attempt found conditional writes there at the same time, and this one found none",
            advice="A place that honours conditions only now and then can't be relied on; use another",
        )
    return known


def _write(calls: Calls, mode: Mode) -> None:
    """Put format.json if it is absent, by the means of its mode."""
    record = {"waypost": "checkpoint store", "format": FORMAT, "mode": mode}
    raw = json.dumps(record).encode("ascii") + b"\n"
    doing, patience = "write format.json of", calls.patience()
    if mode is Mode.SCOPED:
        if known_mode(calls) is None:
            calls.put(doing, keys.FORMAT_KEY, raw)
        return
    while True:
        try:
            calls.put_new(doing, keys.FORMAT_KEY, raw)
        except UnreachableError as error:
            if not patience.pause(error):
                raise calls.error(doing, error, patience) from error
        else:
            return


def probe(calls: Calls) -> Mode:
    """Find out by trying whether put-if-absent means what it has to, on throw-away keys."""
    try:
        _try_out(calls)
    except _UnsupportedError as error:
        logger.warning(
            "%s has no reliable conditional writes (%s). The store is written in mode %r, which depends on listings "
            "that show every write at once, and holds off an attempt that was cut off less strictly: see "
            "docs/format.md",
            calls.backend.uri,
            error,
            Mode.SCOPED.value,
        )
        return Mode.SCOPED
    return Mode.CONDITIONAL


class _UnsupportedError(Exception):
    """The place has no conditional writes: seen, not guessed."""


def _try_out(calls: Calls) -> None:
    nonce = calls.seams.nonce()
    used = [throw_away_key(_FIRST_FENCE, 0, nonce)]
    try:
        _second_put_must_fail(calls, used[0])
        for race in range(1, _RACES + 1):
            used.append(throw_away_key(_FIRST_FENCE, race, nonce))
            if _race_has_one_winner(calls, used[-1]):
                break
        else:
            raise StorageError("probe", calls.backend.uri, f"{_RACES} races of {_RACERS} writers got no clear answers")
    finally:
        _clean_up(calls, used)


def _second_put_must_fail(calls: Calls, key: str) -> None:
    first, second = b"first", b"second"
    _create(calls, key, first)
    if _create(calls, key, second):
        raise _UnsupportedError("a second put-if-absent of one key overwrote the first")
    if not _holds(calls, key, first):
        raise StorageError("probe", calls.backend.uri, "a key that was just written doesn't have its content")


def _create(calls: Calls, key: str, data: bytes) -> bool:
    """put-if-absent until its outcome is known: whether it wrote. Our own success, reported late, counts as one."""
    patience = calls.patience()
    uncertain = False
    while True:
        try:
            calls.once(functools.partial(calls.backend.put_new, key, data), patience)
        except ExistsError:
            return uncertain and _holds(calls, key, data)
        except UnsupportedError as error:
            raise _UnsupportedError(error.cause) from error
        except UnreachableError as error:
            uncertain = True
            if not patience.pause(error):
                raise calls.error("probe", error, patience) from error
        except BackendError as error:
            raise calls.error("probe", error) from error
        else:
            return True


def _race_has_one_winner(calls: Calls, key: str) -> bool:
    """Let several writers create one key at once. False when an answer got lost and the race says nothing."""
    wins: list[bytes] = []
    lost: list[bytes] = []

    def race(body: bytes) -> None:
        try:
            if calls.put_new("probe", key, body):
                wins.append(body)
        except UnreachableError:
            lost.append(body)

    calls.seams.at_once([functools.partial(race, b"%d" % number) for number in range(_RACERS)])
    if lost:
        return False
    if len(wins) > 1:
        raise _UnsupportedError(f"{len(wins)} of {_RACERS} writers that created one key at once were told 'created'")
    if not wins or not _holds(calls, key, wins[0]):
        raise StorageError("probe", calls.backend.uri, "of several writers of one key none has its content there")
    return True


def _holds(calls: Calls, key: str, data: bytes) -> bool:
    """Whether the key has this content; a second look, because one wrong bit must not condemn a place."""
    return any(calls.get("probe", key, 64) == data for _ in range(2))


def _clean_up(calls: Calls, used: list[str]) -> None:
    """Remove the throw-away keys; a place that lets nobody delete keeps a few bytes."""
    try:
        for key in used:
            calls.delete("remove the probe's keys from", key)
    except StorageError as error:
        logger.warning("%s. The keys under %s are of no use and may be removed", error, keys.PROBE)
