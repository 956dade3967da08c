"""The small Ceph cluster of the tests keeps to this machine's loopback and to its own folder."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cluster.ceph import configuration

MONITOR = "[v2:127.0.0.1:3300,v1:127.0.0.1:6789]"


def test_every_address_is_loopback_and_every_path_in_the_folder() -> None:
    text = configuration(Path("/folder"), 7480, "cluster", MONITOR)
    assert set(re.findall(r"\d+\.\d+\.\d+\.\d+", text)) == {"127.0.0.1"}
    assert {path for path in re.findall(r"= (/\S*)", text) if not path.startswith("/folder")} == set()
    for name in ("public_addr", "cluster_addr", "mon_host", "rgw_frontends"):
        assert f"\n{name} = " in text, f"{name} unset would listen wherever this machine has an address"
