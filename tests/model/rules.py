"""What may be done: every choice that a rule settles, and beside it the choice that turned out to be a hole.

`RULES` is the protocol as it stands in docs/protocol.md; `DRAFT` is the careful first draft that it replaced. A run
changes one choice of either, so that each hole is found by itself and each rule is known to be needed.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Rules(NamedTuple):
    """The protocol, and the bounds within which it is explored."""

    # Rule 1: log keys live as long as the store
    trim: Literal["no", "prefix", "careful"] = "no"
    """H2. Deleting entries of pruned checkpoints: all below the newest pruned, or only what is surely dead."""
    trim_foreign: bool = False
    """A careful trimmer deletes the CLI's PRUNE entries as well."""
    list_after_fence: bool = False
    """A careful trimmer's rescue: after its FENCE, list again, and start over unless it is the newest entry."""
    stubs: Literal["no", "confirmed", "early"] = "no"
    """Checkpoints stand in their entries; a pruned one is overwritten by a stub, once its PRUNE stands or before."""

    # Rules 2 and 3: identity and appending
    identity: Literal["writer", "attempt"] = "writer"
    """H3. Whose entry may be stepped over: this process's, or the same attempt's."""
    nonce: Literal["append", "process"] = "append"
    """H4."""
    adopt_prune: bool = True
    """H12. A PRUNE or PIN of the CLI is stepped over; else it fences."""
    complete_ends: bool = True
    """H14. A starting attempt looks for COMPLETE."""
    told_failed: bool = False
    """H24. A save given up is told as failed, instead of unknown."""

    # Rule 4: starting
    restores: Literal["walk", "list"] = "walk"
    """H15. From what was read on the walk to the FENCE, or from a second LIST."""
    list_lags: bool = False
    """A LIST may lack the newest two entries."""
    origin: Literal["none", "always", "first attempt"] = "none"
    """H5. FROM is known to every attempt, or to attempt 1 only."""
    origin_error_is_zero: bool = False
    """H5. A FROM that can't be read counts as nothing saved."""

    # Rule 5: packs
    names: Literal["unique", "content"] = "unique"
    """H1."""
    reuse: Literal["own", "lineage", "live", "head", "nothing"] = "live"
    """H1, H17, H20. Which packs a save may name again: those of live checkpoints that this fence committed; of what it
    restored, too; of any live checkpoint (safe as long as nothing is damaged); whatever a HEAD finds; none."""
    recheck: bool = True
    """H11. The packs are checked before every PUT of the entry, not only before the first."""

    # Rules 6 and 16: deleting
    prunes: Literal["entry", "inside"] = "entry"
    """A writer's retention by PRUNE entries, or inside its CHECKPOINT."""
    recompute: bool = True
    """Rule 16: `prunes` and `live` are computed again for every number."""
    deletes: Literal["confirmed", "sent"] = "confirmed"
    """Rule 16: when what a CHECKPOINT prunes is deleted."""
    keep_base: bool = False
    """What the running attempt resumed from stays live until the next FENCE."""
    retention: Literal["lineage", "number"] = "lineage"
    """H17. What counts as one of the newest `keep`."""
    collect: Literal["no", "fence", "everything"] = "no"
    """H7. Unnamed packs: of lower fences, or all (whatever looks old enough)."""
    collect_when: Literal["restored", "idle"] = "restored"
    clean_after_failure: bool = False
    """H6. A save given up removes the packs it uploaded."""
    cli_base: Literal["log", "committed", "unknown"] = "log"
    """What `waypost checkpoints prune` takes for the base of the running attempt: the parent of the first CHECKPOINT
    of the newest fence, pruning nothing before there is one; the same without that care; none."""
    cli_verifies: bool = True
    """H17. The CLI keeps the newest checkpoint that it found to be whole."""

    # Rules 7 and 8: reading
    reader_looks_again: bool = True
    """H13. A reader that misses an object reads the log again before it calls that damage."""
    restore_looks_again: bool = True
    """H13. So does an attempt in its restore."""
    falls_back: Literal["parent", "older"] = "parent"
    """H17."""
    zero_past_unreadable: bool = False
    """H20. An unreadable entry and no live checkpoint known: begin from zero."""
    unreadable_is: Literal["fence", "stepped over"] = "fence"
    """H20, rule 3 (e)."""

    # Rules 12 and 14, and the process itself
    part_names: Literal["fence", "attempt"] = "fence"
    """H10."""
    checks_parts: bool = True
    """H10. Rank 0 checks at the commit what the other ranks' parts name, not only its own packs."""
    deletion_fence: Literal["stays", "goes last"] = "stays"
    """H23."""
    lock: bool = True
    """One append at a time, whatever thread it comes from."""

    # Bounds
    processes: tuple[tuple[str, int], ...] = (("writer", 1), ("writer", 2))
    saved: int = 0
    """Checkpoints that a process, dead by now, has left: process 0 in `processes` is it, with the role "dead"."""
    saves: int = 2
    keep: int = 1
    delays: int = 1
    duplicates: int = 0
    mishaps: int = 0
    heals: bool = False
    """What the environment damaged may become readable again."""
    damages: Literal["packs", "entries"] = "packs"
    origin_events: int = 0
    completes: bool = True
    shared_pack: bool = False
    """Every checkpoint also names a pack whose content never changes."""
    any_restore: bool = False
    """The program may restore any live checkpoint, not only the newest."""


RULES: Final = Rules()
DRAFT: Final = Rules(
    identity="attempt",
    adopt_prune=False,
    complete_ends=False,
    names="content",
    reuse="head",
    recheck=False,
    reader_looks_again=False,
    restore_looks_again=False,
)
INSIDE: Final = RULES._replace(prunes="inside", keep_base=True, collect="fence", collect_when="idle", reuse="own")
"""What Waypost does: `prunes` inside a CHECKPOINT, the base kept, leftovers collected at any time."""
