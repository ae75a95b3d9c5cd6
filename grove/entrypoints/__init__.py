"""The ways in which Grove is started, other than from a command line."""
