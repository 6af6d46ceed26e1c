"""Exceptions over the wire: what the loader could not do is raised in the agent, as the same class."""

from __future__ import annotations

from typing import Any

from sonde import errors
from sonde.agent.loader.protocol import Failed
from sonde.errors import LoaderError, SondeError

TEXT_MAX = 4096
"""Of longer texts (a verifier's log) the end is kept, which says most."""


def failure_of(error: Exception, number: int) -> Failed:
    """Put an exception into an answer; one that is not ours says its class."""
    if not isinstance(error, SondeError):
        error = SondeError("do what the agent asked", why=f"{type(error).__name__}: {error}")
    _, (_, arguments, state) = error.__reduce__()
    plain = {
        name: _short(value)
        for name, value in state.items()
        if isinstance(value, str | int | None) and not name.startswith("__")
    }
    remarks = [_short(remark) for remark in getattr(error, "__notes__", [])[:4]]
    shown = [_short(each) for each in arguments if isinstance(each, str | int)]
    return Failed(number, type(error).__name__, shown, plain, remarks)


def error_of(failed: Failed) -> SondeError:
    """Make the exception again, without its longer parts."""
    kind = getattr(errors, failed.kind, SondeError)
    if not (isinstance(kind, type) and issubclass(kind, SondeError)):
        kind = LoaderError
    error = errors.restored(kind, tuple(failed.arguments), dict(failed.state))
    for remark in failed.remarks:
        error.add_note(remark)
    return error


def _short(value: Any) -> Any:
    return value[-TEXT_MAX:] if isinstance(value, str) else value
