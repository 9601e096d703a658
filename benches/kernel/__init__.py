"""`python -m benches kernel FILE`: other people's kernels in one command, in the formats that they are written in."""
