"""The disruption matrix: one file per event, named after what a user sees.

Each event meets three tasks at once, which differ in how their program takes SIGTERM (`trio`): it saves and exits 0,
it exits 143 at once, or it is deaf and has to be killed. Afterwards independent witnesses are asked: the recorder
(exactly one replacement, by UID, for 30 s after the resume), the ledger (nothing lost, nothing done twice beyond the
last save, resumed at the last save), and then the task's status (outcome, rule, budget).

What an event does to a node is undone at the end of its test (`harm`), so no test depends on another. The files marked
`matrix` are run by `make test-all`; the others by `make test` too. What each event leaves on its pods, and how it is
judged, stands in docs/disruptions.md.
"""
