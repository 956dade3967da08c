"""The operator's errors: one tree, each message naming what was tried, on what, why it failed and what to do next.

    OperatorError
    ├── ConfigurationError   the operator can't start as it was told to
    ├── ListError            the API server did not give a whole list; the cache keeps what it has
    ├── NotLeadingError      a write was held back because another process may be leading by now
    └── LeadershipLostError  the lease could not be renewed in time; the process ends

Answers of the API server to a single call are no errors but values (`client.Answer`): most of them are expected.
"""

from __future__ import annotations


class OperatorError(Exception):
    """Anything that went wrong in the operator itself."""


class ConfigurationError(OperatorError):
    """The operator can't start: a flag, the cluster's address, the CRD or a permission is missing."""


class ListError(OperatorError):
    """A LIST failed or broke off; nothing may be concluded from its part."""


class NotLeadingError(OperatorError):
    """A write was not sent because the lease is not held for long enough to see it through."""


class LeadershipLostError(OperatorError):
    """The lease was not renewed in time, or somebody else holds it."""
