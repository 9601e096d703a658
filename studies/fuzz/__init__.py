"""Bad sweeps, journals and environments against their readers: `python -m studies.fuzz`."""
