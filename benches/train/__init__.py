"""`python -m benches train`: a Transformer trained on a token file, with what it cost beside what it should."""
