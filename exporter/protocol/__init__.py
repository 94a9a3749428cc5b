"""The bytes of the TWS API and the lines of the launcher log, without any I/O."""
