"""A whole cluster, the chart installed with Helm, real disruptions: what a user sees, one file for each promise.

`stage` sets the scenery up (cluster, image, S3, operator), `scene` is one namespace on it with its witnesses, and
`tasks` are the manifests. The demo plays on the same stage.
"""
