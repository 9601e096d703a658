"""A/A on real runs, and a planted slowdown: what `reports compare` says of runs whose truth is known. `python -m studies.aa`."""
