"""Probe ``offcpu``: how long threads are off their CPUs, in which stacks, and why."""
