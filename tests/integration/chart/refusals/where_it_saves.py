"""What the CRD refuses about where a task saves, what it starts from, and what is kept."""

from __future__ import annotations

from tests.integration.chart.tasks import ABSENT, Refused

URI = "spec__checkpoint__uri"
FROM = "spec__checkpoint__from"
RETENTION = "spec__checkpoint__retention"
MUST_BE_STORE = "checkpoint.from must be a store's URI, without spaces: <uri>, or <uri>#<number of a checkpoint>"
FROM_NO_QUERY = "checkpoint.from can't contain ? or ::"
FROM_NO_USER = "checkpoint.from can't carry a user or password: they belong into checkpoint.credentialsSecretRef"
MUST_BE_URI = "checkpoint.uri must be a URI such as s3://bucket/prefix"
NO_QUERY = "checkpoint.uri can't contain ?, # or ::"
NO_USER = "checkpoint.uri can't carry a user or password: they belong into checkpoint.credentialsSecretRef"

RULES: dict[str, Refused] = {
    "a name too long for its pods": (
        {"metadata__name": "n" * 53},
        "metadata.name can't exceed 52 characters: pods are called <name>-<attempt>",
        {"metadata__name": "n" * 52},
    ),
    "no spec": ({"spec": ABSENT}, "spec: Required value", {}),
    "no checkpoint": ({"spec__checkpoint": ABSENT}, "spec.checkpoint: Required value", {}),
    "no uri": ({URI: ABSENT}, "spec.checkpoint.uri: Required value", {}),
    "an empty uri": ({URI: ""}, "spec.checkpoint.uri: Invalid value", {URI: "s3://b"}),
    "a uri without a scheme": ({URI: "/mnt/checkpoints"}, MUST_BE_URI, {URI: "file:///mnt/checkpoints"}),
    "a uri with a space": ({URI: "s3://bucket/my runs"}, MUST_BE_URI, {URI: "s3://bucket/my%20runs"}),
    "a uri with a query": ({URI: "s3://bucket/runs?versionId=1"}, NO_QUERY, {URI: "gs://bucket/runs"}),
    "a uri with a fragment": ({URI: "s3://bucket/runs#1"}, NO_QUERY, {URI: "s3://bucket/runs-1"}),
    "a chained uri": ({URI: "s3://bucket/zip::inside"}, NO_QUERY, {URI: "s3://bucket/a:b"}),
    "a uri with user and password": ({URI: "https://me:secret@host/a"}, NO_USER, {URI: "https://host/me@home"}),
    "a uri with a user": ({URI: "sftp://me@host/a"}, NO_USER, {URI: "sftp://host/a"}),
    "a uri longer than 512 characters": (
        {URI: "s3://b/" + "x" * 506},
        "spec.checkpoint.uri: Too long: may not be more than 512",
        {URI: "s3://b/" + "x" * 505},
    ),
    "an empty start point": ({FROM: ""}, "spec.checkpoint.from: Invalid value", {FROM: "s3://b"}),
    "a start point without a scheme": ({FROM: "/mnt/base"}, MUST_BE_STORE, {FROM: "file:///mnt/base"}),
    "a start point with a space": ({FROM: "s3://bucket/my base"}, MUST_BE_STORE, {FROM: "s3://bucket/my%20base"}),
    "a start point with a name for a number": ({FROM: "s3://bucket/base#last"}, MUST_BE_STORE, {FROM: "gs://b/x#12"}),
    "a start point with number 0": ({FROM: "s3://bucket/base#0"}, MUST_BE_STORE, {FROM: "s3://bucket/base#1"}),
    "a start point with two numbers": ({FROM: "s3://bucket/base#1#2"}, MUST_BE_STORE, {FROM: "s3://bucket/base#12"}),
    "a start point with nothing behind the #": ({FROM: "s3://bucket/base#"}, MUST_BE_STORE, {FROM: "s3://bucket/base"}),
    "a start point with a query": ({FROM: "s3://bucket/base?versionId=1"}, FROM_NO_QUERY, {FROM: "gs://bucket/base"}),
    "a chained start point": ({FROM: "s3://bucket/zip::inside"}, FROM_NO_QUERY, {FROM: "s3://bucket/a:b#3"}),
    "a start point with user and password": (
        {FROM: "https://me:secret@host/a"},
        FROM_NO_USER,
        {FROM: "https://host/me@home"},
    ),
    "a start point longer than any store's": (
        {FROM: "s3://b/" + "x" * 694},
        "spec.checkpoint.from: Too long: may not be more than 700",
        {FROM: "s3://b/" + "x" * 693},
    ),
    "a secret without a name": (
        {"spec__checkpoint__credentialsSecretRef": {}},
        "spec.checkpoint.credentialsSecretRef.name: Required value",
        {"spec__checkpoint__credentialsSecretRef": {"name": "s3"}},
    ),
    "a secret with an empty name": (
        {"spec__checkpoint__credentialsSecretRef": {"name": ""}},
        "spec.checkpoint.credentialsSecretRef.name: Invalid value",
        {"spec__checkpoint__credentialsSecretRef": {"name": "s"}},
    ),
    "nothing kept": (
        {RETENTION: {"keepLast": 0}},
        "spec.checkpoint.retention.keepLast: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepLast": 1}},
    ),
    "more kept than anyone means": (
        {RETENTION: {"keepLast": 1001}},
        "spec.checkpoint.retention.keepLast: Invalid value: 1001 ... less than or equal to 1000",
        {RETENTION: {"keepLast": 1000}},
    ),
    "one kept in every nothing": (
        {RETENTION: {"keepEvery": {}}},
        "retention.keepEvery needs either steps or seconds",
        {RETENTION: {"keepEvery": {"steps": 1}}},
    ),
    "one kept in every so many steps and seconds": (
        {RETENTION: {"keepEvery": {"steps": 10, "seconds": 10}}},
        "retention.keepEvery needs either steps or seconds",
        {RETENTION: {"keepEvery": {"seconds": 10}}},
    ),
    "one kept in every 0 steps": (
        {RETENTION: {"keepEvery": {"steps": 0}}},
        "spec.checkpoint.retention.keepEvery.steps: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepEvery": {"steps": 2_147_483_647}}},
    ),
    "one kept in every 0 seconds": (
        {RETENTION: {"keepEvery": {"seconds": 0}}},
        "spec.checkpoint.retention.keepEvery.seconds: Invalid value: 0 ... greater than or equal to 1",
        {RETENTION: {"keepEvery": {"seconds": 2_147_483_647}}},
    ),
    "the best of no metric": (
        {RETENTION: {"keepBest": {"mode": "min"}}},
        "spec.checkpoint.retention.keepBest.metric: Required value",
        {RETENTION: {"keepBest": {"mode": "min", "metric": "loss"}}},
    ),
    "the best of a metric without a name": (
        {RETENTION: {"keepBest": {"mode": "min", "metric": ""}}},
        "spec.checkpoint.retention.keepBest.metric: Invalid value",
        {RETENTION: {"keepBest": {"mode": "max", "metric": "m"}}},
    ),
    "the best by no measure": (
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "median"}}},
        'spec.checkpoint.retention.keepBest.mode: Unsupported value: "median"',
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "max"}}},
    ),
    "the best 0": (
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "min", "count": 0}}},
        "spec.checkpoint.retention.keepBest.count: Invalid value: 0",
        {RETENTION: {"keepBest": {"metric": "loss", "mode": "min", "count": 1000}}},
    ),
}
