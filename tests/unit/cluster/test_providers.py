"""Providers: what they refuse, and the configuration the local one writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.cluster import ClusterError, NotSupportedError, provider
from tests.cluster.components import Credentials
from tests.cluster.leftovers import difference
from tests.cluster.local import services
from tests.cluster.local.node import Node, cni_config, containerd_config, kubelet_config
from tests.cluster.s3_in_cluster import credentials_secret, server_objects

CREDENTIALS = Credentials(Path("/certificates"), "https://server")


def test_an_existing_cluster_is_never_the_current_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    (tmp_path / "config").write_text("{}")
    with pytest.raises(ClusterError, match="named explicitly"):
        provider("existing")


def test_what_a_provider_can_not_do_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_CACHE", str(tmp_path))
    (tmp_path / "config").write_text("{}")
    cluster = provider("existing", kubeconfig=tmp_path / "config")
    with pytest.raises(NotSupportedError, match="kill a kubelet"):
        cluster.kill_kubelet("a")
    with pytest.raises(NotSupportedError, match="registry"):
        cluster.load_image(tmp_path / "a.tar", "a:1")


def test_kind_says_that_no_docker_engine_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("WAYPOST_CACHE", str(tmp_path))
    with pytest.raises(ClusterError, match=r"no Docker engine answers.*Cannot connect.*--provider local"):
        provider("kind").up()


def test_nodes_on_one_host_share_nothing() -> None:
    def words(node: Node) -> set[str]:
        texts = [containerd_config(node, Path("/runc")), json.dumps(cni_config(node))]
        kubelet = kubelet_config(node, CREDENTIALS)
        words = [word.strip(" '\",{}[]") for text in texts for word in text.replace("=", " ").split()]
        words += [str(kubelet[key]) for key in ("address", "containerRuntimeEndpoint", "podLogsDir", "tlsCertFile")]
        return {word for word in words if word.startswith(("/home", "/run/", "unix:", "10.", "wp"))}

    one, two = (words(Node("c", Path("/home"), number)) for number in (1, 2))
    assert len(one) > 8
    assert not one & two


def test_the_container_runtime_gets_a_configuration_it_can_read() -> None:
    node = Node("c", Path("/home"), 1)
    config = tomllib.loads(containerd_config(node, Path("/bin/runc")))
    options = config["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]["runc"]["options"]
    assert options["BinaryName"] == "/bin/runc"
    assert len(str(node.socket) + ".ttrpc") < 104


def test_dns_forwards_only_where_the_host_has_a_resolver(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("# nameserver 1.1.1.1\nsearch here\n")
    assert services.host_resolver(resolver) is None
    assert "forward" not in services.corefile(CREDENTIALS, None)
    resolver.write_text("nameserver 192.0.2.1\n")
    assert f"forward . {resolver}" in services.corefile(CREDENTIALS, services.host_resolver(resolver))


def test_the_s3_secret_leads_to_the_server_that_is_deployed() -> None:
    service = next(item for item in server_objects("storage", ["abc"]) if item["kind"] == "Service")
    secret = credentials_secret("storage", "team")
    assert secret["stringData"]["AWS_ENDPOINT_URL"] == (
        f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    )


def test_leftovers_are_what_is_new_and_settings_that_changed() -> None:
    before = {"mounts": ["/a", "/b"], "kernel settings": ["x=0"]}
    after = {"mounts": ["/b", "/c"], "kernel settings": ["x=1"]}
    assert difference(before, after) == [
        "mounts: left behind: /c",
        "kernel settings: left behind: x=1",
        "kernel settings: gone: x=0",
    ]
