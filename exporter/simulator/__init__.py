"""A scripted TWS with faults on demand: for the demo, the tests, and anyone who tests a trading program.

It imports the protocol's names (`exporter.protocol`) and the nouns (`exporter.model`), nothing else of the exporter.
"""
