"""`python -m benches train`: a Transformer or the deep linear model trained, with what it cost beside what it should."""
