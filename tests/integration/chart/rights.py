"""What an account may do, in the API server's own words (SelfSubjectRulesReview), asked as that account."""

from __future__ import annotations

import json

from tests.cluster.kubeconfig import Kubectl

Right = tuple[str, str, str, str]
"""API group, resource, name or "" for any, verb."""


def rights(kubectl: Kubectl, namespace: str, *options: str) -> set[Right]:
    """The rights in a namespace of whoever this kubectl (with these options) is."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    # Without kubectl's own validation, for which it lists the CRDs: few accounts may.
    create = ("create", "--validate=false", "-f", "-", "-o", "json", *options)
    answer = json.loads(kubectl(*create, stdin=json.dumps(review)))
    assert not answer["status"].get("incomplete")
    return {
        (group, resource, name, verb)
        for rule in answer["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    }
