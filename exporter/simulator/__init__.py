"""A scripted TWS with faults on demand: for the demo, the tests, and anyone who tests a trading program.

Of the exporter it imports `exporter.protocol`, `exporter.model` and `exporter.signals`, nothing else.
"""
