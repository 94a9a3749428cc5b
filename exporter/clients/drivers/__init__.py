"""Scripts for the interpreters that hold a broker library, run by path and imported by nobody here."""
