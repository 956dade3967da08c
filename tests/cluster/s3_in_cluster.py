"""The S3 server inside a cluster: the objects to apply, and `deploy`, which does.

versitygw runs as one pod behind the Service `s3` in a namespace of its own. Buckets are made by an init
container, because to versitygw a bucket is a folder. Its data live as long as the pod: a test that wants to
lose the server but not the data deletes the container, not the pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .images import S3_IMAGE, s3_archive
from .provider import Cluster
from .s3 import HEALTH_PATH, gateway_command
from .s3_service import REGION

PORT = 7070
ACCESS_KEY = "waypost"
SECRET_KEY = "waypost-secret"  # of a server that only a test's own cluster can reach
_DATA = "/data"
_READY = {
    "httpGet": {"path": HEALTH_PATH, "port": PORT},
    "periodSeconds": 1,
    "timeoutSeconds": 10,
    "failureThreshold": 10,
}
"""Ready at once, and not taken out of its Service because two cores that start 200 pods keep it waiting for a second:
its clients would be refused, where a slow server is what they wait for."""


def endpoint(namespace: str) -> str:
    """URL of the server as pods reach it."""
    return f"http://s3.{namespace}.svc:{PORT}"


def server_objects(namespace: str, buckets: Sequence[str], node: str | None = None) -> list[dict[str, Any]]:
    """The namespace, the server with its `buckets` (3 characters or more each), and its Service; it runs on `node`,
    if one is named."""
    labels = {"app.kubernetes.io/name": "s3"}
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    volume = [{"name": "data", "mountPath": _DATA}]
    image = {"image": S3_IMAGE, "imagePullPolicy": "IfNotPresent", "volumeMounts": volume}
    folders = [f"{_DATA}/{bucket}" for bucket in buckets]
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": [{"name": "buckets", **image, "command": ["/busybox", "mkdir", "-p", _DATA, *folders]}],
        "containers": [
            {
                "name": "versitygw",
                **image,
                "command": gateway_command("/versitygw", f":{PORT}", _DATA),
                "env": [{"name": key, "value": value} for key, value in keys.items()],
                "ports": [{"containerPort": PORT}],
                "readinessProbe": _READY,
            }
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "s3", "namespace": namespace},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3", "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]


def credentials_secret(server_namespace: str, namespace: str, name: str = "s3-credentials") -> dict[str, Any]:
    """A Secret in `namespace` whose keys are the environment an S3 client needs to use that server."""
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": endpoint(server_namespace),
        "AWS_REGION": REGION,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": environment,
    }


def deploy(cluster: Cluster, namespace: str, buckets: Sequence[str], node: str | None = None) -> None:
    """Start the server in `cluster`, on `node` if one is named, and wait until it is ready."""
    cluster.load_image(s3_archive(), S3_IMAGE)
    cluster.kubectl.apply(*server_objects(namespace, buckets, node))
    cluster.kubectl("rollout", "status", "deployment/s3", f"--namespace={namespace}", "--timeout=120s")
