"""Other work on the cores while points are timed: how many of the rows that end `ok` are wrong. `python -m studies.disturbances`."""
