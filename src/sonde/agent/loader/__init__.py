"""The two processes: a small one that has the privileges to load, and the agent, which has none and asks it.

The agent's side is ``loader.py``, the other's ``process.py``. Neither is imported here, for the small one has no use for
the agent's side, nor memory.
"""
