"""One error for all that a test cluster can't do: it says what was tried, why it failed, what to do next."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """A test cluster, one of its programs or one of its images could not be had."""


class NotSupportedError(ClusterError):
    """This provider has no such ability (killing a kubelet of somebody else's cluster, for one)."""
