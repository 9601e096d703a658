"""`python -m reports reference`: the pages of docs/reference, made from the definitions that the code itself reads."""
