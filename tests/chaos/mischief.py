"""The deeds of a run of chaos: pods evicted and deleted, the API server killed; at random, and each written down."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict

from tests.cluster import ClusterError
from tests.e2e.scene import Scene

WEIGHTS = {"evict": 6, "delete": 2, "force": 1}
API_SERVER_DOWN_SECONDS = (0.5, 6.0)
API_SERVER_LIVES_SECONDS = (30.0, 80.0)


class Mischief:
    """Two threads, one that picks pods and one that kills the API server, until `stop`."""

    def __init__(self, scene: Scene, seed: int, pause: float) -> None:
        """`pause`: mean seconds between two deeds to pods."""
        self._scene, self._pause = scene, pause
        self._dice, self._other_dice = random.Random(seed), random.Random(seed + 1)
        self._over = threading.Event()
        self.deeds: dict[str, list[str]] = defaultdict(list)
        """By pod name, in order; a deed whose answer never came is among them, for it may have been done."""
        self.done: Counter[str] = Counter()
        self.unclear: Counter[str] = Counter()
        self.api_server_outages: list[tuple[float, float]] = []
        """Each from when to when, in wall time."""
        self._threads = [threading.Thread(target=self._pods), threading.Thread(target=self._api_server)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both; the API server is up when this returns."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _pods(self) -> None:
        while not self._over.wait(self._dice.expovariate(1 / self._pause)):
            running = [
                pod["metadata"]["name"]
                for pod in self._scene.recorder.all_of("Pod")
                if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
            ]
            if running:
                self._do(self._dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0], self._dice.choice(running))

    def _do(self, deed: str, pod: str) -> None:
        self.deeds[pod].append(deed)  # before it is done: its effect may be seen before its answer
        try:
            if deed == "evict":
                self._scene.evict(pod)
            elif deed == "delete":
                self._scene.kubectl("delete", "pod", pod, "--wait=false")
            else:
                self._scene.kubectl("delete", "pod", pod, "--wait=false", "--force", "--grace-period=0")
            self.done[deed] += 1
        except ClusterError as error:
            self.unclear[deed] += 1
            if "NotFound" in str(error):
                self.deeds[pod].remove(deed)  # answered: there was nothing to do it to

    def _api_server(self) -> None:
        cluster, dice = self._scene.stage.cluster, self._other_dice
        while not self._over.wait(dice.uniform(*API_SERVER_LIVES_SECONDS)):
            died = time.time()
            cluster.kill_api_server()
            time.sleep(dice.uniform(*API_SERVER_DOWN_SECONDS))
            cluster.start_api_server()
            self.api_server_outages.append((died, time.time()))
