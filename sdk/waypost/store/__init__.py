"""The checkpoint store, format 1 (docs/format.md): an append-only log beside immutable packs.

From the inside out: `sequences`, `entries`, `state`, `manifest` and `tree` are pure; `calls` is the only way to the
backend, with retries and without a clock of its own; `log` appends (fence, nonces, who may commit), `format` is what
stands before the first entry, `packs` moves bytes; `reading` chooses a checkpoint and falls back, `placing` puts it
on the disk; `sources` makes what is saved safe to change, `saver` is the queue and its thread.
"""
