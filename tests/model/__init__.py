"""The protocol of the checkpoint store as a small world, explored to its end: the judge of every change of the rules.

Read in this order: `world` (what there is), `rules` (what may be done, and every hole that a rule closes), `server`,
`appending` (rule 3, the heart), `writer` with `restoring` and `retaining`, then the others who touch a store: `reader`,
`cli`, `deleter`, `rank`, `thread`, `environment`. `invariants` says what must hold in every reachable world,
`exploring` visits them all, breadth first; `holes` and `held` list what is explored.

Nothing is fair here: any process may be arbitrarily slow at every step (one that is never scheduled again was killed
there), and a write may answer, lose its answer, hang and be carried out at any later time, also after its client
died, or be carried out twice. Bounds are small, and inside them the search is exhaustive. docs/protocol.md has the
rules in words and the table of results; `make model` explores everything. `scoped` is a model of its own, for stores
whose place has no conditional writes.
"""
