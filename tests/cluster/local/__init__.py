"""Kubernetes' own programs on this machine, without a container engine: a control plane and several nodes.

addresses.py   every address and port
network.py     the bridge all of it listens on, forwarding, kernel settings
node.py        one node: its containerd and its kubelet
login1.py      a logind on a bus of its own, for a kubelet that is to shut its node down gracefully
services.py    Services and DNS: kube-proxy and CoreDNS
remains.py     finding and taking back what a node leaves in the kernel
cluster.py     all of it, up and down
"""

from __future__ import annotations

from .cluster import LocalCluster

__all__ = ["LocalCluster"]
