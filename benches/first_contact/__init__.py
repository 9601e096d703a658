"""`python -m benches first-contact`: on a bare GPU node, in minutes, is everything that only a GPU can show as it was assumed?"""
