"""The Waypost operator: keeps exactly one pod running for every unfinished `CheckpointedTask`.

Layers, enforced by import-linter: `model` (types, pure) < `policy` (one decision a file, pure) < `specs` (builds
pods, pure) < `decide` (observed -> Decision, pure) < `runtime` (cache, queue, apply, leader) < `handlers` (kopf).
"""
