"""Scripts for the interpreters that hold a broker library, run by path and imported nowhere in the exporter."""
