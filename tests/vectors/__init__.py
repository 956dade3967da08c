"""Small stores, good and damaged, and what a reader must answer: for whoever reads or writes format 1 by other means.

Each folder holds a `store` and an `expect.json`: `restores` (the number of the checkpoint that a restore gives) and
`files` (what it holds), or `error` (`corrupt`: nothing whole is left, or that can't be told; `deleted`), or `nothing`
(nothing was saved yet); `live`, `pinned` and `completed` as the log says; `listed` where an entry of `live` can't be
read. The bytes are part of the repository: a change of the code must not change what they mean.
`python -m tests.vectors.make` writes them anew, on purpose only.
"""
