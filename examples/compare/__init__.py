"""Waypost beside flytekit: one program, the same three misfortunes, run for real. `make compare`."""
