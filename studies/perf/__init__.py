"""Speed of the suite itself: `python -m studies.perf`. Not timed tests: it prints what it found beside what was asked for."""
