"""The rights the operator checks when it starts are the rights that docs/operator.md lists, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

from waypost_operator.runtime.preflight import PERMISSIONS, WISHES, Permission, lease_permissions

PAGE = Path(__file__).parents[3] / "docs/operator.md"


def listed() -> set[tuple[str, str, str]]:
    """Group, resource and verb of every table row of the page that names a resource and verbs."""
    rights = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        found = re.search(r"\| (core|`[a-z.0-9]+`) \| `([a-z/]+)`[^|]*\| ([a-z, ]+) \|", line)
        if found:
            group, resource, verbs = found[1].strip("`"), found[2], found[3]
            rights |= {("" if group == "core" else group, resource, verb.strip()) for verb in verbs.split(",")}
    return rights


def test_the_page_and_the_check_agree() -> None:
    checked: tuple[Permission, ...] = (*PERMISSIONS, *WISHES, *lease_permissions("waypost-operator"))
    assert {(one.group, one.resource, one.verb) for one in checked} == listed()
