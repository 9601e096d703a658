"""Simulated histories, in which the truth is known: what the verdict is tuned and judged on."""
