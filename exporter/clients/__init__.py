"""Broker libraries, each in an interpreter of its own. Nothing here, or anywhere in the exporter, imports one."""
