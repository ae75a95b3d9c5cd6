"""Speed, measured beside a plain-Python baseline in the same run."""
