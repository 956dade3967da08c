"""Where bytes live: one small protocol (`protocol.py`), one file per backend, one place that picks (`opening.py`).

A backend makes one request per call and keeps no state: no retries, no caches, no clock. What is retried, how often
and for how long is decided in `waypost.store.calls`, so that the store's code can be driven step by step in tests.
"""
