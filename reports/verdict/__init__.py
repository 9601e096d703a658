"""The nightly verdict: what became slower or faster, and since when. Pure functions over arrays and rows; docs/verdicts.md has the rule."""
