"""Flame graphs: a profile's stacks as a picture (svg) and as a page to look around in (html)."""
