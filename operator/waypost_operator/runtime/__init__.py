"""The impure half of the operator: what is known (cache), what to look at next (queue), and what is done (apply).

Nothing here decides anything. A worker takes a key from the queue, shows what the cache knows about it to
`waypost_operator.decide`, lets `apply` do what the decision says, puts the API server's answer into the cache and
decides again, until there is nothing left to do; the watch only wakes it. kopf is not imported here: it is one
source of events among three (the others are the API server's answers and the periodic sweep).
"""
