"""Measurements: ratios from interleaved runs against the same server, never absolute claims."""
