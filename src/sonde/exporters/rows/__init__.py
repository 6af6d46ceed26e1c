"""Records as flat tables for other programs: an Arrow stream, a Parquet file."""
