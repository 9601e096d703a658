"""The history: one immutable Parquet file a run in one directory, queried through DuckDB. No lock, no single file to corrupt."""
