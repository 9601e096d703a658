"""Evidence from a board: a first contact's findings as a folder of docs/validation, and the last column of docs/evidence.md's table."""
