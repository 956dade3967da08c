"""One small patch for each promise, which breaks it, and the named test that goes red.

A test that has never been seen failing proves nothing. Each file in `patches/` says in its header which promise it
breaks and which tests must notice:

    Promise: Fenced. Once attempt N+1 has started to restore, attempt N can never commit again.
    Breaks: a zombie steps over the FENCE of its successor as if it were a PRUNE.
    Killer: tests/unit/store/test_appending.py::test_a_zombie_is_fenced_for_ever

    --- a/sdk/waypost/store/log.py
    +++ b/sdk/waypost/store/log.py
    ...

`python -m tests.mutants` tries them all; `python -m tests.mutants fence` those whose name contains a word.
"""
