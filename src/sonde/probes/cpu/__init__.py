"""Probe ``cpu``: which code runs on the CPUs, by stack."""
