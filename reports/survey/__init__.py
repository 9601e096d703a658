"""Which GPU of a survey is slow: every GPU measured the same points, so that each is compared with the others. docs/fleet.md has the rule."""
