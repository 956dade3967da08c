"""Every address and port of a local cluster.

All programs listen on a bridge of their own, so nothing collides with what the host listens on, and pods
reach the control plane without special routes. Each node has an address there too, with the usual ports.
"""

from __future__ import annotations

BRIDGE = "wp0"
HOST = "10.89.0.1"
HOST_NETWORK = "10.89.0.0/24"
POD_NETWORK = "10.244.0.0/16"
DNS_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"

API_PORT = 6443
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
DNS_PORT = 5354
DNS_READY_PORT = 8181
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248

API_SERVER = f"https://{HOST}:{API_PORT}"
MOST_NODES = 100


def node_address(number: int) -> str:
    """Address of node `number`, counted from 1."""
    return f"10.89.0.{10 + number}"


def pod_subnet(number: int) -> str:
    """Where the pods of node `number` get their addresses."""
    return f"10.244.{number}.0/24"


def pod_bridge(number: int) -> str:
    """The link that joins the pods of node `number`."""
    return f"wpn{number}"
