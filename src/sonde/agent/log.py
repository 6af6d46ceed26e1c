"""What the agent says of itself on standard error: for a person, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal, TextIO

from sonde.agent.patience import is_taken
from sonde.exporters.text import visible

LOGGER = logging.getLogger("sonde")


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what a name holds cannot break the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


class TextFormatter(logging.Formatter):
    """``sonde: message``; control characters are escaped, so that no name can write to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        lines = f"sonde: {level}{record.getMessage()}".splitlines() or [""]
        text = "\n".join(map(visible, lines))
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class PatientHandler(logging.StreamHandler[TextIO]):
    """Writes lines for who reads them: where nobody does, they are left out, and told of once somebody does again."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if it is taken at once."""
        if not is_taken(self.stream):
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        if left_out:
            told = f"{left_out} lines were not written, for nobody read them"
            super().emit(logging.LogRecord(record.name, logging.WARNING, "", 0, told, None, None))
        super().emit(record)


def set_up(level: str, form: Literal["text", "json"] | str) -> None:
    """Send what sonde's loggers say from this level on to standard error, in this form; again replaces it."""
    handler = PatientHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False
    # libbpf tells each step at debug; what went wrong there is in our errors.
    logging.getLogger("sonde.libbpf").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
