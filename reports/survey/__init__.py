"""Which GPU of a survey is slow: every GPU measured the same points, and is compared with the others. docs/fleet.md has the rule."""
