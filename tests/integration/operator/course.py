"""A whole life of a task, driven from outside whatever befalls the operator: preempted, recovered, completed.

It starts whatever pod waits and ends whatever pod runs, by the attempt's number, and needs no operator to be alive at
any particular moment. A pod runs on until its UID stands in the task's status: real programs outlive an operator's
restart, and one that doesn't would (rightly) be started again under the same number.
"""

from __future__ import annotations

import asyncio
import time

from waypost import contract

from .kubelet import Kubelet, document
from .stage import Object, Stage


async def drive(stage: Stage, kubelet: Kubelet, name: str, seconds: float) -> Object:
    """Play the cluster's part until the task says that it is over, and return its status.

    Attempt 1 is preempted, attempt 2 asks to be relaunched, attempt 3 completes.
    """
    deadline = time.monotonic() + seconds
    started: set[str] = set()
    while True:
        task = await stage.task(name)
        if task.get("status", {}).get("state") in ("Succeeded", "Failed"):
            status: Object = task["status"]
            return status
        for pod in (await stage.pods()).values():
            identity, attempt = pod["metadata"]["uid"], int(pod["metadata"]["labels"][contract.LABEL_ATTEMPT])
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                if pod["metadata"].get("deletionTimestamp"):
                    await kubelet.remove(pod)
            elif identity not in started:
                started.add(identity)
                await kubelet.start(pod)
            elif task.get("status", {}).get("podUID") != identity:
                continue
            elif attempt == 1:
                await kubelet.evict(pod, document(1, step=10, sequence=1))
            elif attempt == 2:
                await kubelet.end(pod, "exit75-a", document(attempt, step=10 * attempt, sequence=attempt))
            else:
                await kubelet.end(pod, "exit0-a", document(attempt, step=100, sequence=9, completed=True))
        assert time.monotonic() < deadline, f"the task came to no end in {seconds:g} s: {task}\n{stage.tails()}"
        await asyncio.sleep(0.1)
