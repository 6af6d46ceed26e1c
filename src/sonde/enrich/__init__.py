"""Enrichers: columns that follow from the meaning of others, one file per meaning."""
