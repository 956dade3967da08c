"""A deterministic simulator: the real store code, driven through very many orders of its requests.

Processes are greenlets that stop ahead of every request (`actors`); a seed decides who goes on, and whether the request
is answered, lost, repeated, late, or its sender killed (`schedule`). What the store does is real, from the start of an
attempt to its restore and its saves (`process`); who meets in it is a cast (`casts`). A judge that reads the raw
objects by itself (`stranger`) holds the model's invariants after every step (`judge`). A violation is a seed.

    make simulate SCHEDULES=1000000 JOBS=2      many schedules, and what came about in them
    make simulate SEED=42 SCHEDULES=1           one of them, step by step
    make holes                                  each hole that the protocol closes, put back, is found

Two schedules are distinct when their rows of (process, operation, key, outcome) differ, whatever their casts.
"""
