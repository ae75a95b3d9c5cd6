"""Sources on this host."""
