"""How many rows a second the driver of a fleet commits, and how much memory it takes."""
