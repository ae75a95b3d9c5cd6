"""Small tools that belong to no single part: plug-in look-up, text and path parsing, the clock, files."""
