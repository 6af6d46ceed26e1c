"""Probe ``packets``: what passes the network's interfaces, by protocol and by flow."""
