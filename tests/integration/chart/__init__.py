"""The chart, the manifests and the CRD against a real API server."""
