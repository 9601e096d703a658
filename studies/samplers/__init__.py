"""Samplers side by side on the simulated device, whose truth is known: `python -m studies.samplers`."""
