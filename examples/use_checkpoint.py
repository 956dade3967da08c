"""Count to N, fail on the way, go on where the count stood: the smallest program worth a CheckpointedTask.

The arithmetic is that of the example in Flyte's documentation: with `RETRIES = 3` the count fails at every third of
the way. It fails only where the division has no remainder: 9 or 12 iterations fail twice, 10 never.

    waypost run examples/use_checkpoint.py:use_checkpoint --n-iterations 9

On a laptop that runs attempts until one completes; the same command is the pod's. There the attempts are far shorter
than `spec.failurePolicy.backoff.initialSeconds`, so without steps they count as no progress: they are relaunched after
a backoff, and count against `maxFailures`.
"""

from __future__ import annotations

import waypost

RETRIES = 3


@waypost.task(retries=RETRIES)
def use_checkpoint(n_iterations: int) -> int:
    """Count from 0 to n_iterations - 1, saving after each step, and return the last index."""
    checkpoint = waypost.current_context().checkpoint
    saved = checkpoint.read()
    start = int(saved) if saved else 0
    print(f"resuming at iteration {start} of {n_iterations}" if saved else "starting at iteration 0", flush=True)

    failure_interval = n_iterations / RETRIES
    index = start
    for index in range(start, n_iterations):
        if index > start and index % failure_interval == 0:
            raise waypost.RecoverableError(f"failed at iteration {index}, as it does every {failure_interval:g}")
        checkpoint.write(str(index + 1).encode())
    print(f"finished at iteration {index}", flush=True)
    return index


if __name__ == "__main__":
    print(use_checkpoint(n_iterations=9))
