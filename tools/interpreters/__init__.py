"""Interpreters that tests profile: built from Debian's source packages as no distribution builds them, into a cache."""
