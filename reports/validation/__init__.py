"""Evidence from a board: what a first contact found, as a folder of docs/validation, and the last column of the proof table in docs/evidence.md."""
