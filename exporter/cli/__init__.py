"""The commands: each composes the parts below and prints, serves or ends with an exit code."""
