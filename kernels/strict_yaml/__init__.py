"""YAML that people write: nodes with line numbers, values, and every mistake at once, one line each."""
