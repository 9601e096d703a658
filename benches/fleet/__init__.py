"""A sweep on the GPUs of many machines, through Ray: who measures what, what travels, and what is written."""
