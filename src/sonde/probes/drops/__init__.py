"""Probe ``drops``: packets that the kernel dropped, why and where."""
