"""The same task function on a laptop: `waypost run` and plain calls of `@waypost.task` functions.

The rules are those of the operator, made small: every attempt is a real child process under the same environment
contract, its document is read after its end, and `budget` decides what comes next. `supervise` holds the loop,
`children` starts processes, `drill` preempts them, `call` and `entry` are the two ways in.
"""
