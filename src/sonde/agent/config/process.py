"""Section ``[process]``: who the agent is."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Kind, shown

OWN_USER = "sonde"


@dataclass(frozen=True, slots=True)
class User(Kind):
    """The name of a user of this machine; sonde's own need not be there."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "the name of a user"

    def read(self, value: object) -> str:
        """Look the user up."""
        import pwd

        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.refuse(value)
        try:
            pwd.getpwnam(value)
        except KeyError:
            if value != OWN_USER:
                raise ValueError(f"there is no user {shown(value)}: make one with useradd --system") from None
        return value


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """The ``user`` that the agent becomes when it is started as root."""

    user: str = key(
        User(),
        OWN_USER,
        "Whom the agent becomes when it is started as root; where there is no user sonde: nobody.",
    )
