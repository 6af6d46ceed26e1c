"""Servers that tests send to, as Debian packages them: unpacked into a cache, never installed, so no service starts."""
