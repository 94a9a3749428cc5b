"""The service: one clock for each target, the probes that it starts, and the states that result."""
