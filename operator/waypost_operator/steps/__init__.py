"""The steps that `decide` puts in order: each looks at the situation and gives a Decision, or None: not its matter.

`upkeep` removes pods that must not or need not be there, `launch` brings the current attempt's pod into being,
`watch` follows it, `stop` ends it early, `judge` books its end, `suspend` holds the task,
`expire` deletes it when it is long over. All of them are pure.
"""
