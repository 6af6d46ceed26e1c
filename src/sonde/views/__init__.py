"""Sinks for people, and for pipes: views choose what to show, writers how it is written."""
