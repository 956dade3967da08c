"""What the operator reads and what it decides, as typed data: no client, no clock, no I/O.

`spec` and `status` are the CheckpointedTask itself (the CRD is generated from them), `pod` and `node` are typed
views of raw Kubernetes objects, `observed` is everything one decision may look at, `decision` is what comes out.
"""
