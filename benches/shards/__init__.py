"""Parts of a sweep for machines that know nothing of each other: how it is split, and how the runs are merged."""
