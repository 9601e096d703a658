"""A run directory: points in worker processes, the journal, resume, the environment, sentinels. `run.Run` is the way in."""
