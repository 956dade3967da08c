"""The steps that `decide` puts in order: each looks at the situation and gives a Decision, or None: not its matter.

`upkeep` removes pods that must not or need not be there, `launch` brings the current attempt's pod into being,
`watch` follows it, `unreachable` looks after one that doesn't end, `stop` ends it early, `judge` books its end,
`suspend` holds the task, `expire` deletes it when it is long over. `finalizer` keeps a task whose checkpoints go with
it, and `cleanup` deletes them. All of them are pure.
"""
