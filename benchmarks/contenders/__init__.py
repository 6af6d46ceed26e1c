"""The tools that are compared, and the floors below them: how each is started, ended and measured."""
