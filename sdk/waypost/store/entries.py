"""The entries of the log: what they say, and how they are written.

An entry is one JSON object of ASCII text whose last member is `check`, the BLAKE3 of everything before it: a torn or
altered entry can't be taken for another one. Every entry carries the state of the log right behind it (`live`,
`pinned`), so a reader that has the newest entry knows which checkpoints there are without reading the log back, and
a restore is three GETs however long the history is (rule 8).

Unknown members are ignored; an unknown type is unreadable, because what it does to the log can't be known.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from blake3 import blake3

from waypost.store import keys
from waypost.store.damage import UnreadableEntryError
from waypost.store.members import Members
from waypost.store.scopes import NO_SCOPES, Scopes
from waypost.store.sequences import NOTHING, Sequences

DELETED_ATTEMPT: Final = 2**63 - 1
"""The attempt of the FENCE that says: this store was deleted."""

_CHECK: Final = re.compile(rb',"check":"([0-9a-f]{64})"\}\Z', re.ASCII)
_NON_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What every entry carries."""

    type: ClassVar[str]
    sequence: int
    attempt: int
    """The writer's attempt; 0 for entries that need no fence (PRUNE, PIN, UNPIN by the command line)."""
    fence: int
    """Sequence of the writer's FENCE; its own for a FENCE, 0 without one."""
    nonce: str
    """Fresh for every append, kept over the retries of that append."""
    time: datetime.datetime
    live: Sequences
    """The live checkpoints right behind this entry."""
    pinned: Sequences
    """The pinned ones among them."""
    scopes: Scopes = NO_SCOPES
    """Where the entries before it and itself stand, in a store without conditional writes; nothing elsewhere."""

    def _members(self) -> dict[str, Any]:
        return {}

    def encode(self) -> bytes:
        """The bytes of the entry; raises ValueError beyond MAX_ENTRY."""
        record = {
            "type": self.type,
            "sequence": self.sequence,
            "attempt": self.attempt,
            "fence": self.fence,
            "nonce": self.nonce,
            "time": format_time(self.time),
            "live": self.live.to_json(),
            "pinned": self.pinned.to_json(),
            **({"scopes": self.scopes.to_json()} if self.scopes.row else {}),
            **self._members(),
        }
        return seal(record)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fence(Entry):
    """A writer took the store over; whoever wrote before can't append any more."""

    type: ClassVar[str] = "FENCE"
    pod: str | None
    """UID of the writer's pod: the same attempt may start again only in the same pod."""
    group: str | None = None
    """The token of the execution, if it has several ranks: those above 0 look for it."""
    ranks: int = 1
    """How many ranks it has."""

    def _members(self) -> dict[str, Any]:
        return {"pod": self.pod} | ({} if self.group is None else {"group": self.group, "ranks": self.ranks})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base(Entry):
    """What a writer goes on from, in a store without conditional writes: that is `live`, and who wrote it `scopes`."""

    type: ClassVar[str] = "BASE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestObject:
    """Where a manifest stands that is too large for its entry."""

    name: str
    size: int
    digest: str


@dataclasses.dataclass(frozen=True)
class Origin:
    """A checkpoint of another store: the one that this store's first checkpoint goes on from."""

    uri: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.uri}#{self.sequence}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint(Entry):
    """A committed save. A stub (what is left of a pruned one) has neither manifest nor data."""

    type: ClassVar[str] = "CHECKPOINT"
    step: int | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    parent: int | Origin | None
    """The checkpoint that it goes on from. Falling back ends at one of another store."""
    size: int
    """Bytes of the files together."""
    manifest: Mapping[str, Any] | ManifestObject | None
    """The manifest itself, where to find it, or None in a stub."""
    data: bytes | None = None
    """The content, if it stands in the entry."""
    ranks: int | None = None
    """How many ranks saved it together: then each one's part is a folder named by its rank. None: a single writer."""
    ordinal: int | None = None
    """With ranks: which of the calls they made together saved it."""
    prunes: Sequences = NOTHING
    """Checkpoints that were live before it and aren't any more: a save and its PRUNE in one entry."""

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "step": self.step,
            "metrics": {name: _number_to_json(value) for name, value in self.metrics.items()},
            "metadata": dict(self.metadata),
            "parent": dataclasses.asdict(self.parent) if isinstance(self.parent, Origin) else self.parent,
            "size": self.size,
        }
        if self.prunes:
            members["prunes"] = self.prunes.to_json()
        if self.ranks is not None:
            members |= {"ranks": self.ranks, "ordinal": self.ordinal}
        members |= {"stub": True} if self.manifest is None else manifest_members(self.manifest)
        if self.data is not None:
            members["data"] = base64.b64encode(self.data).decode("ascii")
        return members


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complete(Entry):
    """The task has ended; nothing but PRUNE, PIN and UNPIN may follow."""

    type: ClassVar[str] = "COMPLETE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prune(Entry):
    """These checkpoints are no longer live; their data may be gone."""

    type: ClassVar[str] = "PRUNE"
    prunes: Sequences

    def _members(self) -> dict[str, Any]:
        return {"prunes": self.prunes.to_json()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pin(Entry):
    """This checkpoint may not be pruned."""

    type: ClassVar[str] = "PIN"
    target: int

    def _members(self) -> dict[str, Any]:
        return {"target": self.target}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unpin(Entry):
    """This checkpoint may be pruned again."""

    type: ClassVar[str] = "UNPIN"
    target: int

    def _members(self) -> dict[str, Any]:
        return {"target": self.target}


def decode(raw: bytes, sequence: int) -> Entry:
    """Read the entry that stands at `sequence`; raises UnreadableEntryError for anything but a whole entry."""
    try:
        return _decode(raw, sequence)
    except (ValueError, RecursionError, OverflowError) as error:
        raise UnreadableEntryError(f"log entry {sequence} can't be read: {error}") from error


def seal(record: Mapping[str, Any]) -> bytes:
    """A record as it stands in the store, its check at its end; raises ValueError beyond MAX_ENTRY."""
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]
    raw = body + b',"check":"' + blake3(body).hexdigest().encode("ascii") + b'"}'
    if len(raw) > keys.MAX_ENTRY:
        raise ValueError(f"a record of {len(raw)} bytes is larger than {keys.MAX_ENTRY}")
    return raw


def unseal(raw: bytes) -> Members:
    """The record that was sealed; raises ValueError for anything but a whole one, RecursionError."""
    if len(raw) > keys.MAX_ENTRY:
        raise ValueError(f"it has {len(raw)} bytes, more than {keys.MAX_ENTRY}")
    match = _CHECK.search(raw)
    if match is None:
        raise ValueError("it doesn't end in its check: it is truncated, or no record of this format")
    if blake3(raw[: match.start()]).hexdigest().encode("ascii") != match[1]:
        raise ValueError("its check doesn't match its content")
    return Members(json.loads(raw.decode("ascii"), parse_float=_finite, parse_constant=_finite))


def manifest_members(manifest: Mapping[str, Any] | ManifestObject) -> dict[str, Any]:
    """How a record names a manifest."""
    if isinstance(manifest, ManifestObject):
        reference = {"name": manifest.name, "size": manifest.size, "blake3": manifest.digest}
        return {"manifestObject": reference}
    return {"manifest": manifest}


def manifest_of(fields: Members) -> Mapping[str, Any] | ManifestObject | None:
    """The manifest that a record names, None if it names none; raises ValueError."""
    if "manifest" in fields.record:
        return fields.mapping("manifest")
    if "manifestObject" not in fields.record:
        return None
    reference = Members(fields.record["manifestObject"])
    name = reference.text("name")
    if not keys.is_object_name(name):
        raise ValueError(f"its manifest's name {name!r} isn't one")
    size = reference.integer("size", high=keys.MAX_MANIFEST)
    return ManifestObject(name=name, size=size, digest=reference.text("blake3"))


def _decode(raw: bytes, sequence: int) -> Entry:
    fields = unseal(raw)
    common: dict[str, Any] = {
        "sequence": fields.integer("sequence", low=1),
        "attempt": fields.integer("attempt"),
        "fence": fields.integer("fence"),
        "nonce": fields.text("nonce"),
        "time": parse_time(fields.text("time")),
        "live": fields.sequences("live"),
        "pinned": fields.sequences("pinned"),
        "scopes": Scopes.from_json(fields.record.get("scopes", [])),
    }
    if common["sequence"] != sequence:
        raise ValueError(f"it says that it is entry {common['sequence']}")
    for member in ("live", "pinned"):
        if (common[member].newest or 0) > sequence:
            raise ValueError(f"its member {member!r} names entries that come after it")
    match fields.record.get("type"):
        case Fence.type:
            return Fence(
                **common,
                pod=fields.optional_text("pod"),
                group=fields.optional_text("group"),
                ranks=fields.optional_integer("ranks", low=1) or 1,
            )
        case Base.type:
            return Base(**common)
        case Checkpoint.type:
            return _checkpoint(fields, common)
        case Complete.type:
            return Complete(**common)
        case Prune.type:
            return Prune(**common, prunes=fields.sequences("prunes"))
        case Pin.type:
            return Pin(**common, target=fields.integer("target", low=1))
        case Unpin.type:
            return Unpin(**common, target=fields.integer("target", low=1))
        case other:
            raise ValueError(f"its type {other!r} isn't known; a newer Waypost may have written it")


def _checkpoint(fields: Members, common: dict[str, Any]) -> Checkpoint:
    data: bytes | None = None
    manifest = manifest_of(fields)
    if manifest is None and fields.record.get("stub") is not True:
        raise ValueError("it has no manifest, and isn't a stub")
    if "data" in fields.record:
        try:
            data = base64.b64decode(fields.text("data"), validate=True)
        except binascii.Error as error:
            raise ValueError(f"its data aren't base64: {error}") from error
    prunes = fields.sequences("prunes") if "prunes" in fields.record else NOTHING
    if (prunes.newest or 0) >= common["sequence"]:
        raise ValueError("its member 'prunes' names entries that don't come before it")
    return Checkpoint(
        **common,
        step=fields.optional_integer("step"),
        metrics={name: _number_from_json(name, value) for name, value in fields.mapping("metrics").items()},
        metadata=fields.mapping("metadata"),
        parent=_parent(fields, common["sequence"]),
        size=fields.integer("size"),
        manifest=manifest,
        data=data,
        ranks=fields.optional_integer("ranks", low=2),
        ordinal=fields.optional_integer("ordinal", low=1),
        prunes=prunes,
    )


def _parent(fields: Members, sequence: int) -> int | Origin | None:
    if isinstance(fields.record.get("parent"), dict):
        origin = Members(fields.record["parent"])
        return Origin(origin.text("uri"), origin.integer("sequence", low=1))
    parent = fields.optional_integer("parent", low=1)
    if parent is not None and parent >= sequence:
        raise ValueError(f"its parent {parent} doesn't come before it")
    return parent


def _finite(text: str) -> float:
    """A number of JSON; what Python reads beyond that (NaN, 1e999) couldn't be written again, as a stub has to be."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _number_to_json(value: float) -> float | str:
    """JSON has no NaN and no infinities, and a checkpoint whose loss is NaN has to be kept all the same."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _number_from_json(name: str, value: object) -> float:
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return value
    raise ValueError(f"its metric {name!r} isn't a number")


def format_time(time: datetime.datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime.datetime:
    """Read what `format_time` wrote; raises ValueError."""
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return time
