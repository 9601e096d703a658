"""Simulated fleets, in which the slow GPUs are known: what a survey's verdict is tuned and judged on."""
