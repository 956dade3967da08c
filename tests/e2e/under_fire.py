"""An operator process on this machine that is killed again and again, by plan, and started again each time.

It runs as `python -m waypost_operator` with the chart's own ServiceAccount, through the proxy, so every API write of
it can be met: SIGKILL before the write is sent on, or after the API server has carried it out and before the operator
hears of it. A new life starts only when the old process is gone, as a Deployment with strategy Recreate has it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.e2e.stage import RELEASE, ROOT, SYSTEM, Stage
from tests.witness.apiproxy import ApiProxy, Request, When

JOIN_SECONDS = 60.0


@dataclass(frozen=True)
class Death:
    """One end of the operator: at which write, on which side of it; None = at a random moment."""

    life: int
    write: Request | None
    when: When | None
    at: float
    """Wall time."""

    def __str__(self) -> str:
        return f"life {self.life}: {self.when} {self.write}" if self.write else f"life {self.life}: at random"


class OperatorUnderFire:
    """Keeps an operator for one namespace alive, through a proxy, while it is entered as a context manager."""

    def __init__(self, stage: Stage, namespace: str, folder: Path) -> None:
        self._namespace, self._folder = namespace, folder
        self.log = folder / "operator.log"
        self.proxy = ApiProxy(stage.cluster.kubectl.service_account_kubeconfig(SYSTEM, RELEASE))
        self.deaths: list[Death] = []
        self.life = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="operator-keeper", daemon=True)
        self._unexpected: list[str] = []

    def __enter__(self) -> OperatorUnderFire:
        self.proxy.__enter__()
        self._kubeconfig = self.proxy.kubeconfig(self._folder / "proxied.kubeconfig")
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.kill(None, None)
        self._keeper.join(JOIN_SECONDS)
        self.proxy.__exit__(kind, error, trace)
        if error is not None:
            print(f"-------- the operator under fire\n{self.log.read_text(errors='replace')[-8000:]}")
            print("\n".join(str(request) for request in self.proxy.writes[-40:]))

    def outages(self) -> list[tuple[float, float]]:
        """When nobody could do anything for a task, in wall time: while the API server was held back, and from each
        death to the next life's first request."""
        asked = [request.at for request in self.proxy.requests]
        found = list(self.proxy.stalls)
        for death in self.deaths:
            found.append((death.at, next((at for at in asked if at > death.at), time.time())))
        return found

    @property
    def unexpected_ends(self) -> list[str]:
        """Ends of the operator that nobody ordered: it must survive whatever it meets."""
        return self._unexpected

    def kill(self, write: Request | None, when: When | None) -> None:
        """SIGKILL the present life and wait until it is gone."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                return
            self.deaths.append(Death(self.life, write, when, time.time()))
            process.send_signal(signal.SIGKILL)
            process.wait()

    def never_survive(self, aimed_at: Callable[[Request], bool]) -> None:
        """From now on each life dies at its first write that is aimed at: one before it, the next after it.

        So every such write is met twice: it is tried, and lost with the life; tried again by the next life, carried
        out, and the life is lost before it hears so.
        """

        life_of: dict[int, int] = {}

        def strike(request: Request, when: When) -> bool:
            life = life_of.setdefault(request.number, self.life)
            if not aimed_at(request) or when != ("before" if life % 2 else "after"):
                return True
            if life == self.life:
                self.kill(request, when)
            return False

        self.proxy.on_write = strike

    def cease_fire(self) -> None:
        """Let the operator live from now on."""
        self.proxy.on_write = None

    def random_fire(self, shots: int, seed: int, longest_life: float, longest_stall: float) -> None:
        """Kill `shots` times at random moments; before every third, the API server stalls for a while."""
        dice = random.Random(seed)
        for shot in range(shots):
            life = self._wait_for_life()
            until = time.monotonic() + dice.uniform(0.0, longest_life)
            if shot % 3 == 2:
                self.proxy.stall()
                self._wait_until(time.monotonic() + dice.uniform(0.0, longest_stall))
                if dice.random() < 0.5:  # half of the stalls outlive the operator
                    self.proxy.release()
            self._wait_until(until)
            if self.life == life:
                self.kill(None, None)
            self.proxy.release()

    def _wait_for_life(self) -> int:
        while True:
            with self._lock:
                if self._process is not None and self._process.poll() is None:
                    return self.life
            if self._ending.wait(0.02):
                raise RuntimeError("there will be no further life")

    def _wait_until(self, moment: float) -> None:
        self._ending.wait(max(0.0, moment - time.monotonic()))

    def _keep(self) -> None:
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "waypost_operator", "--namespace", self._namespace]
        command += ["--no-leader-election", "--liveness-port", "0", "--log-format", "text"]
        while not self._ending.is_set():
            with self.log.open("ab") as output:
                with self._lock:
                    self.life += 1
                    output.write(f"---- life {self.life}\n".encode())
                    output.flush()
                    self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
                code = self._process.wait()
            if code != -signal.SIGKILL:
                self._unexpected.append(f"life {self.life} ended by itself with {code}")
                self._ending.wait(1.0)
