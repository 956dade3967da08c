"""Services and DNS: one kube-proxy for the host, and CoreDNS as a process of the host.

All nodes share the host's network, so one kube-proxy serves them all (in nftables tables of its own). CoreDNS
needs no image this way: it listens on the bridge, and the Service kube-dns points there by an EndpointSlice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..components import Credentials
from . import addresses

DNS_USER = "waypost:coredns"


def proxy_config(credentials: Credentials, node: str) -> dict[str, object]:
    """KubeProxyConfiguration; `node` is the one whose endpoints count as local."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": credentials.file("kube-proxy.kubeconfig")},
        "hostnameOverride": node,
        "mode": "nftables",
        "clusterCIDR": addresses.POD_NETWORK,
        "nftables": {"masqueradeAll": True},
        # 0: leave the kernel's connection tracking as it is.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "bindAddress": addresses.HOST,
        "nodePortAddresses": [addresses.HOST_NETWORK],
        "healthzBindAddress": f"{addresses.HOST}:{addresses.PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"{addresses.HOST}:{addresses.PROXY_METRICS_PORT}",
    }


def corefile(credentials: Credentials, resolver: str | None) -> str:
    """CoreDNS' configuration; names outside the cluster go to `resolver`, a resolv.conf, if there is one."""
    forward = f"  forward . {resolver}\n" if resolver else ""
    return f""".:{addresses.DNS_PORT} {{
  bind {addresses.HOST}
  errors
  ready {addresses.HOST}:{addresses.DNS_READY_PORT}
  kubernetes {addresses.DOMAIN} in-addr.arpa {{
    kubeconfig {credentials.file("coredns.kubeconfig")}
    pods insecure
    fallthrough in-addr.arpa
    ttl 5
  }}
  cache 5 {{
    denial 1000 1
  }}
{forward}}}
"""


def host_resolver(path: Path = Path("/etc/resolv.conf")) -> str | None:
    """The host's resolv.conf, if it names any server."""
    lines = path.read_text().splitlines() if path.exists() else []
    return str(path) if any(line.split()[:1] == ["nameserver"] for line in lines) else None


def dns_objects() -> list[dict[str, Any]]:
    """What DNS needs in the cluster: rights for CoreDNS, and the Service that leads to it."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    system = "kube-system"
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "waypost:coredns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "waypost:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "waypost:coredns",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DNS_USER}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": system},
            "spec": {
                "clusterIP": addresses.DNS_SERVICE,
                "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-host",
                "namespace": system,
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": [{"name": name, "port": addresses.DNS_PORT, "protocol": protocol} for name, protocol in ports],
            "endpoints": [{"addresses": [addresses.HOST], "conditions": {"ready": True}}],
        },
    ]
