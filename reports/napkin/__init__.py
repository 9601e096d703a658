"""`python -m reports napkin`: questions in YAML, answered in steps on the terminal and on a page."""
