"""Scripts for the interpreters that hold a broker library. Nothing of the exporter imports them: they are run by path."""
