"""One decision a file, all of them pure: plain data in, plain data out.

`evidence` says what the cluster shows about an end, `failure_rules` which of the user's rules fits it, `classify`
judges it, `progress` says whether it brought the task further, `budgets` books it, `completion` says whether it was
the last, `stall` whether the task gets anywhere, `backoff` when the next may start, `placement` where, `spot` on what
kind of machine that is, `unreachable` whether a pod that doesn't end may be left behind. `deadlines` says when time is
over, `stopping` why we end an attempt ourselves, `waiting` what a pod waits for, `expiry` when a finished task may go,
`cleanup` when deleting a deleted task's checkpoints is tried again.
"""
