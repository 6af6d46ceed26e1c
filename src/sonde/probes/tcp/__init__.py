"""Probe ``tcp``: connections, whose they are, how long they take, and what they carry."""
