"""Sweeps: YAML to points. `load.load_sweep` is the way in."""
