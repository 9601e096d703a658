"""Fits the cost model's constants to a user's own runs, and says which of them the rows can tell."""
