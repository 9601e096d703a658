"""Kernels of the package liger-kernel, checked and compiled without editing it: `python -m studies.liger`."""
