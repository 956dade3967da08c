"""`python -m tests.cluster.proof`: does the local cluster do what a cluster must, and leave nothing behind?

Run it after raising a version. It starts a cluster of its own (so none may be up), runs a pod on each node
that resolves names, talks to the API with its token and to S3, reads its log, runs a command in it, evicts one,
runs one out of memory, loses a kubelet and a node, takes all of it down, and compares the machine with what it
was before.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .errors import ClusterError
from .images import BASE_IMAGE, base_archive
from .leftovers import difference, snapshot
from .progress import say
from .provider import Cluster, provider
from .s3_in_cluster import credentials_secret, deploy
from .waiting import wait_for

_NAME = "proof"
_BUCKET = "proof"
_SECONDS = 60.0
_SPACE = "--namespace=default"

# What runs in each pod. The SDK is not needed to show that names, tokens and S3 work, so it is not used.
_PROGRAM = """
import os, signal, socket, ssl, sys, time, urllib.error, urllib.request

folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(folder + "token").read()
trust = ssl.create_default_context(cafile=folder + "ca.crt")
ask = urllib.request.Request("https://kubernetes.default.svc/version", headers={"Authorization": "Bearer " + token})
print("API", urllib.request.urlopen(ask, context=trust).status)
print("short name", socket.gethostbyname("kubernetes.default"))
try:
    urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/" + sys.argv[1])
except urllib.error.HTTPError as refusal:
    print("S3", refusal.code)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    time.sleep(1)
"""
_EXPECTED = ["API 200", "short name 10.96.0.1", "S3 403", "ready"]


def main() -> int:
    """Go through all of it; the exit status is 1 at the first promise that does not hold."""
    before = snapshot()
    cluster = provider("local", _NAME, nodes=2)
    try:
        cluster.up()
        _prove(cluster)
    except ClusterError as error:
        say(f"FAILED: {error}")
        return 1
    finally:
        cluster.down()
    left = difference(before, snapshot())
    say("\n".join(["FAILED: left behind:", *left]) if left else "proven: nothing is left behind")
    return 1 if left else 0


def _prove(cluster: Cluster) -> None:
    kubectl = cluster.kubectl
    cluster.load_image(base_archive(), BASE_IMAGE)
    deploy(cluster, "proof-storage", [_BUCKET])
    kubectl.apply(credentials_secret("proof-storage", "default"))
    first, second = cluster.nodes
    kubectl.apply(_pod("one", first), _pod("two", second))
    for name in ("one", "two"):
        _await_log(cluster, name, _EXPECTED)
        _expect(kubectl("exec", _SPACE, name, "--", "hostname").strip() == name, f"a command runs in {name}")
    say("proven: pods on each node resolve names, reach the API and S3; logs and exec work")

    kubectl("patch", "pod", "one", _SPACE, "--type=merge", "-p", '{"metadata": {"finalizers": ["proof.dev/hold"]}}')
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one", "namespace": "default"}}
    kubectl("create", "--raw=/api/v1/namespaces/default/pods/one/eviction", "-f", "-", stdin=json.dumps(eviction))
    wait_for("the evicted pod to fail", lambda: _status(cluster, "one")["phase"] == "Failed", _SECONDS)
    status = _status(cluster, "one")
    _expect(any(c["type"] == "DisruptionTarget" for c in status["conditions"]), "an eviction marks the pod")
    _expect(_terminated(status)["exitCode"] == 7, "an evicted program gets its SIGTERM")
    kubectl("patch", "pod", "one", _SPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    say("proven: eviction")

    kubectl.apply(_pod("hungry", first, "bytearray(10**9)"))
    wait_for("the hungry pod to fail", lambda: _status(cluster, "hungry")["phase"] == "Failed", _SECONDS)
    _expect(_terminated(_status(cluster, "hungry"))["reason"] == "OOMKilled", "a memory limit holds")
    say("proven: memory limits")

    cluster.kill_kubelet(second)
    cluster.start_kubelet(second)
    _expect(_status(cluster, "two")["phase"] == "Running", "pods outlive their kubelet")
    cluster.power_off(second)
    cluster.power_on(second)
    cluster.load_image(base_archive(), BASE_IMAGE)
    kubectl.apply(_pod("three", second, "print('ready')"))  # S3 may have been on that node, and is gone then
    _await_log(cluster, "three", ["ready"])
    say("proven: kubelets and nodes are lost and come back")


def _pod(name: str, node: str, program: str = _PROGRAM) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": BASE_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", program, _BUCKET],
        "envFrom": [{"secretRef": {"name": "s3-credentials"}}],
        "resources": {"limits": {"memory": "128Mi"}},
    }
    spec = {"nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _status(cluster: Cluster, pod: str) -> dict[str, Any]:
    status: dict[str, Any] = cluster.kubectl.json("get", "pod", pod, _SPACE)["status"]
    return status


def _terminated(status: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = status["containerStatuses"][0]["state"]["terminated"]
    return state


def _await_log(cluster: Cluster, pod: str, lines: list[str]) -> None:
    def says_all() -> bool:
        pending = _status(cluster, pod)["phase"] == "Pending"
        return not pending and cluster.kubectl("logs", pod, _SPACE).splitlines() == lines

    wait_for(f"pod {pod} to say {lines}", says_all, _SECONDS)


def _expect(holds: bool, promise: str) -> None:
    if not holds:
        raise ClusterError(f"it does not hold that {promise}")


if __name__ == "__main__":
    sys.exit(main())
