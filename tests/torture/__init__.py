"""Real processes that are killed and frozen at random points, over real stores: promises 1, 2 and 3 by force.

`python -m tests.torture --help`. A campaign forks one writer after the other, ends each by SIGKILL or freezes it by
SIGSTOP in the middle of what it does, and judges by two witnesses that use nothing of Waypost: the ledger that every
writer keeps (`ledger.py`), and the store's log as it lies there (`rawlog.py`).
"""
