"""Probe ``processes``: who begins, what they run, how they end."""
