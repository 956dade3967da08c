"""What earlier states of a pod showed and the last one doesn't: an order to stop remains one when its trace is wiped.

The API server keeps no past of an object, so this lives as long as the operator process does: after a restart only what
the object itself shows counts. It is bounded: a few fields of at most so many conditions a pod, and hardly ever
one, since Kubernetes' own components leave their conditions where they are.

A condition counts as seen when it was True, and is taken back by a later state that has it with another status (the
disruption controller does that two minutes after an eviction that came to nothing).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from waypost_operator.model.raw import Json, items, mapping

CONDITIONS_KEPT = 16
"""Of one pod; far more types than any pod has that come and go."""
FIELDS_KEPT = ("type", "status", "reason", "lastTransitionTime")


@dataclasses.dataclass(frozen=True)
class Earlier:
    """See the module."""

    conditions: tuple[Mapping[str, Any], ...] = ()
    """Conditions that were True once and are absent now."""
    deletion: str = ""
    """`metadata.deletionTimestamp`, if it stood there once and doesn't now."""

    def then(self, older: Json, newer: Json) -> Earlier:
        """What is remembered once `newer` is the last state, and `older`, from before it, is not."""
        seen = {str(one.get("type")): one for one in self.conditions}
        for one in items(older, "status", "conditions"):
            if one.get("status") == "True":
                seen[str(one.get("type"))] = {name: one[name] for name in FIELDS_KEPT if name in one}
        for one in items(newer, "status", "conditions"):
            seen.pop(str(one.get("type")), None)
        ordered = str(mapping(older, "metadata").get("deletionTimestamp") or "") or self.deletion
        wiped = not mapping(newer, "metadata").get("deletionTimestamp")
        return Earlier(tuple(seen.values())[-CONDITIONS_KEPT:], ordered if wiped else "")


NOTHING_EARLIER = Earlier()
