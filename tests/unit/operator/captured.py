"""Pod and node states captured from a real Kubernetes 1.37 with real kubelets, one watch event a line.

Each file is named after the disruption that it shows and how the program took it: `a` saves and exits 0 on SIGTERM,
`b` ignores it, `c` exits with 143. Nothing in them was written by hand.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import datetime
from pathlib import Path

from waypost import contract
from waypost_operator.model.node import NodeFate, NodeSeen
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json

HERE = Path(__file__).parent / "fixtures"
NAMES = sorted(path.stem for path in (HERE / "pods").glob("*.jsonl"))


@dataclasses.dataclass(frozen=True)
class Seen:
    """One watch event of a pod."""

    at: datetime
    type: str
    pod: Pod

    @property
    def judged(self) -> bool:
        """What the operator would judge: a terminal pod, or one that is gone."""
        return self.pod.terminal or self.type == "DELETED"


def history(name: str) -> list[Seen]:
    """All events of one captured pod, in order."""
    events = []
    for line in (HERE / "pods" / f"{name}.jsonl").read_text().splitlines():
        event = json.loads(line)
        at = datetime.fromisoformat(event["observedAt"])
        events.append(Seen(at, event["type"], Pod(event["object"], at)))
    return events


def node_at(name: str, when: datetime) -> NodeSeen:
    """What a GET of the node would have answered at that moment."""
    last: Json | None = None
    for line in (HERE / "nodes" / f"{name}.jsonl").read_text().splitlines():
        event = json.loads(line)
        if last is not None and datetime.fromisoformat(event["observedAt"]) > when:
            break
        last = event
    if last is None or last["type"] == "DELETED":
        return NodeSeen(name, NodeFate.GONE)
    return NodeSeen(name, NodeFate.PRESENT, last["object"])


def with_document(pod: Pod, document: contract.Document) -> Pod:
    """The same pod, had its program written this record."""
    raw = copy.deepcopy(pod.raw)
    raw["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = document.encode().decode()
    return Pod(raw, pod.seen_at)
