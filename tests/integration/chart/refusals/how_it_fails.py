"""What the CRD refuses about failures: their number, exit codes, rules, and the waits between attempts."""

from __future__ import annotations

from tests.integration.chart.tasks import Refused

FAILURES = "spec__failurePolicy__maxFailures"
CODES = "spec__failurePolicy__recoverableExitCodes"
FAILURE_RULES = "spec__failurePolicy__rules"
BACKOFF = "spec__failurePolicy__backoff"

RULES: dict[str, Refused] = {
    "less than no failure": (
        {FAILURES: -1},
        "spec.failurePolicy.maxFailures: Invalid value: -1 ... greater than or equal to 0",
        {FAILURES: 0},
    ),
    "more failures than anyone means": (
        {FAILURES: 1_000_001},
        "spec.failurePolicy.maxFailures: Invalid value: 1000001 ... less than or equal to 1000000",
        {FAILURES: 1_000_000},
    ),
    "failures as a word": (
        {FAILURES: "three"},
        'spec.failurePolicy.maxFailures: Invalid value: "string"',
        {FAILURES: 3},
    ),
    "a broken number of failures": ({FAILURES: 1.5}, "spec.failurePolicy.maxFailures: Invalid value", {FAILURES: 1}),
    "exit code 0 as recoverable": (
        {CODES: [0]},
        "spec.failurePolicy.recoverableExitCodes[0]: Invalid value: 0 ... greater than or equal to 1",
        {CODES: [1]},
    ),
    "an exit code that no process has": (
        {CODES: [256]},
        "spec.failurePolicy.recoverableExitCodes[0]: Invalid value: 256 ... less than or equal to 255",
        {CODES: [255]},
    ),
    "an exit code twice": (
        {CODES: [3, 3]},
        "spec.failurePolicy.recoverableExitCodes[1]: Duplicate value: 3",
        {CODES: [3, 4]},
    ),
    "more than 32 exit codes": (
        {CODES: list(range(1, 34))},
        "spec.failurePolicy.recoverableExitCodes: Too many: 33",
        {CODES: list(range(1, 33))},
    ),
    "a failure rule about nothing": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail"}]},
        "needs exactly one of onExitCodes, onConditions and onReasons",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"type": "DisruptionTarget"}]}]},
    ),
    "a failure rule about two things": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [1], "onReasons": ["Evicted"]}]},
        "needs exactly one of onExitCodes, onConditions and onReasons",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted"]}]},
    ),
    "a failure rule without a name": (
        {FAILURE_RULES: [{"action": "Fail", "onExitCodes": [1]}]},
        "spec.failurePolicy.rules[0].name: Required value",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [1]}]},
    ),
    "a failure rule named like one of Waypost's own": (
        {FAILURE_RULES: [{"name": "Evicted", "action": "Fail", "onExitCodes": [1]}]},
        "the name of a failure rule consists of lower-case letters, digits and inner dashes",
        {FAILURE_RULES: [{"name": "evicted-2", "action": "Retry", "onExitCodes": [1]}]},
    ),
    "two failure rules of one name": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [code]} for code in (1, 2)]},
        "spec.failurePolicy.rules[1]: Duplicate value",
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in (1, 2)]},
    ),
    "more than 20 failure rules": (
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in range(1, 22)]},
        "spec.failurePolicy.rules: Too many: 21",
        {FAILURE_RULES: [{"name": f"r{code}", "action": "Fail", "onExitCodes": [code]} for code in range(1, 21)]},
    ),
    "an action that isn't there": (
        {FAILURE_RULES: [{"name": "r", "action": "Ignore", "onExitCodes": [1]}]},
        'spec.failurePolicy.rules[0].action: Unsupported value: "Ignore"',
        {FAILURE_RULES: [{"name": "r", "action": "RetryFree", "onExitCodes": [1]}]},
    ),
    "a failure rule on exit code 0": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [0]}]},
        "spec.failurePolicy.rules[0].onExitCodes[0]: Invalid value: 0",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": list(range(1, 256))}]},
    ),
    "a failure rule on no exit code": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": []}]},
        "spec.failurePolicy.rules[0].onExitCodes: Invalid value ... at least 1 items",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onExitCodes": [255]}]},
    ),
    "a failure rule on a reason that says nothing": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted", "Error"]}]},
        "onReasons can't name Error or Completed: they say no more than the exit code does",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onReasons": ["Evicted", "StartError"]}]},
    ),
    "a failure rule on a condition without a type": (
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"status": "True"}]}]},
        "spec.failurePolicy.rules[0].onConditions[0].type: Required value",
        {FAILURE_RULES: [{"name": "r", "action": "Fail", "onConditions": [{"type": "Ready", "status": "False"}]}]},
    ),
    "no wait at all": (
        {BACKOFF: {"initialSeconds": 0}},
        "spec.failurePolicy.backoff.initialSeconds: Invalid value: 0 ... greater than or equal to 1",
        {BACKOFF: {"initialSeconds": 1}},
    ),
    "a first wait longer than a day": (
        {BACKOFF: {"initialSeconds": 86_401, "maxSeconds": 86_400}},
        "spec.failurePolicy.backoff.initialSeconds: Invalid value: 86401",
        {BACKOFF: {"initialSeconds": 86_400, "maxSeconds": 86_400}},
    ),
    "a longest wait longer than a day": (
        {BACKOFF: {"maxSeconds": 86_401}},
        "spec.failurePolicy.backoff.maxSeconds: Invalid value: 86401",
        {BACKOFF: {"maxSeconds": 86_400}},
    ),
    "a longest wait of nothing": (
        {BACKOFF: {"initialSeconds": 1, "maxSeconds": 0}},
        "spec.failurePolicy.backoff.maxSeconds: Invalid value: 0",
        {BACKOFF: {"initialSeconds": 1, "maxSeconds": 1}},
    ),
    "a first wait longer than the longest": (
        {BACKOFF: {"initialSeconds": 20, "maxSeconds": 10}},
        "backoff.initialSeconds can't be greater than backoff.maxSeconds",
        {BACKOFF: {"initialSeconds": 10, "maxSeconds": 10}},
    ),
    "a first wait longer than the longest by default": (
        {BACKOFF: {"initialSeconds": 601}},
        "backoff.initialSeconds can't be greater than backoff.maxSeconds",
        {BACKOFF: {"initialSeconds": 600}},
    ),
}
