"""Probe ``syscalls``: what every process asks of the kernel."""
