"""Whether all is well: what is known of every stream, and how a daemon tells it to monitors and people."""
