"""The control plane's programs and their flags, for the API server alone and for the whole local cluster.

One place, so that an integration test and an end-to-end test meet the same API server. Everything is a pure
function from addresses and files to a command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .certificates import Authority
from .kubeconfig import with_certificate

SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"  # the first of the service network, always the API server's
ISSUER = "https://kubernetes.default.svc"

# What an API server needs beside it to treat owners, namespaces, quotas and service accounts as usual. Not
# among them: whatever moves or deletes pods of nodes that do not exist, as made-up nodes in tests do not.
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)


@dataclass(frozen=True)
class Credentials:
    """The files a control plane authenticates with, in one folder."""

    folder: Path
    server: str  # URL of the API server, as the programs and the host reach it

    @classmethod
    def issue(cls, folder: Path, server: str, hosts: Sequence[str]) -> tuple[Credentials, Authority]:
        """Make the authority, the API server's certificate for `hosts`, and the programs' kubeconfigs."""
        authority = Authority(folder)
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"]
        authority.issue("apiserver", "kube-apiserver", hosts=[*names, SERVICE_ADDRESS, *hosts])
        authority.issue("apiserver-kubelet", "kube-apiserver", ["system:masters"])
        authority.signing_key("service-accounts")
        credentials = cls(folder, server)
        credentials.kubeconfig(authority, "admin", "waypost-admin", ["system:masters"])
        for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            credentials.kubeconfig(authority, name, f"system:{name}")
        return credentials, authority

    def kubeconfig(self, authority: Authority, name: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Write NAME.kubeconfig with a certificate for `user`."""
        certificate, key = authority.issue(name, user, groups)
        return with_certificate(
            self.folder / f"{name}.kubeconfig", self.server, authority.certificate, certificate, key
        )

    def file(self, name: str) -> str:
        """Path of one of the files, for a command line."""
        return str(self.folder / name)


def etcd(program: Path, data: Path, address: str, client_port: int, peer_port: int) -> list[str]:
    """etcd with one member; it may lose its data on a power cut, tests do not outlive one."""
    client, peer = f"http://{address}:{client_port}", f"http://{address}:{peer_port}"
    return [
        str(program),
        "--name=waypost",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=waypost={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(
    program: Path,
    credentials: Credentials,
    bind_address: str,
    advertise_address: str,
    port: int,
    etcd_url: str,
    publish_endpoints: bool = True,
    service_account_admission: bool = True,
) -> list[str]:
    """kube-apiserver with RBAC, and the plugins of a usual installation.

    A loopback address can't be published as the endpoint of the Service `kubernetes`. Without a controller
    manager nobody makes the ServiceAccounts that their admission plugin asks every pod to have.
    """
    command = [
        str(program),
        f"--bind-address={bind_address}",
        f"--advertise-address={advertise_address}",
        f"--secure-port={port}",
        f"--etcd-servers={etcd_url}",
        f"--client-ca-file={credentials.file('ca.crt')}",
        f"--tls-cert-file={credentials.file('apiserver.crt')}",
        f"--tls-private-key-file={credentials.file('apiserver.key')}",
        f"--kubelet-client-certificate={credentials.file('apiserver-kubelet.crt')}",
        f"--kubelet-client-key={credentials.file('apiserver-kubelet.key')}",
        # Without this `kubectl logs` looks a node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={credentials.file('service-accounts.pub')}",
        f"--service-account-signing-key-file={credentials.file('service-accounts.key')}",
        f"--service-account-issuer={ISSUER}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]
    if not publish_endpoints:
        command.append("--endpoint-reconciler-type=none")
    if not service_account_admission:
        command.append("--disable-admission-plugins=ServiceAccount")
    return command


def controller_manager(
    program: Path, credentials: Credentials, bind_address: str, port: int, controllers: Sequence[str] = ("*",)
) -> list[str]:
    """kube-controller-manager without leader election: it is the only one."""
    return [
        str(program),
        f"--kubeconfig={credentials.file('kube-controller-manager.kubeconfig')}",
        f"--bind-address={bind_address}",
        f"--secure-port={port}",
        f"--controllers={','.join(controllers)}",
        f"--service-account-private-key-file={credentials.file('service-accounts.key')}",
        f"--root-ca-file={credentials.file('ca.crt')}",
        f"--cluster-signing-cert-file={credentials.file('ca.crt')}",
        f"--cluster-signing-key-file={credentials.file('ca.key')}",
        "--use-service-account-credentials",
        # It starts by making an account per controller, which takes five seconds at its usual 20 requests each.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--leader-elect=false",
        "--node-monitor-grace-period=40s",
    ]


def scheduler(program: Path, credentials: Credentials, bind_address: str, port: int) -> list[str]:
    """kube-scheduler without leader election: it is the only one."""
    return [
        str(program),
        f"--kubeconfig={credentials.file('kube-scheduler.kubeconfig')}",
        f"--authentication-kubeconfig={credentials.file('kube-scheduler.kubeconfig')}",
        f"--authorization-kubeconfig={credentials.file('kube-scheduler.kubeconfig')}",
        f"--bind-address={bind_address}",
        f"--secure-port={port}",
        "--leader-elect=false",
    ]
