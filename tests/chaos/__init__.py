"""Chaos: very many tasks on a real cluster, and everything around them killed at random; `make chaos`."""
