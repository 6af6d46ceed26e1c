"""Probe ``runqueue``: how long threads that could run wait for a CPU."""
