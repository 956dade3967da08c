"""Witnesses that share no code with what they judge.

- `recorder`: every version of every pod and task, by its own LIST and WATCH, as lines of a file; `history` judges them.
- `program`: a step loop that runs in the pod and writes an append-only ledger without the SDK; `ledger` judges it.
- `apiproxy`: stands between the operator and the API server, so that a test can stall it, cut it off, and kill it
  at an exact API write.
"""
