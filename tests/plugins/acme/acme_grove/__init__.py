"""Grove plugins for Acme."""
