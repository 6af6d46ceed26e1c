"""Sinks to machine formats: one file, or one folder, for each."""
