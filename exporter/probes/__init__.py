"""Probes: each a function that asks one layer of one target, all of one tick over a single TCP connection."""
