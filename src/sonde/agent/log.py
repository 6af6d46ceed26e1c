"""What the agent says of itself on standard error: for a person, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal, TextIO

from sonde.agent.patience import is_taken, write_patiently
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

    left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if it is taken at once."""
        if self.left_out and is_taken(self.stream):
            told = f"{self.left_out} lines were not written, for nobody read them"
            self.left_out = 0
            self._write(logging.LogRecord(record.name, logging.WARNING, "", 0, told, None, None))
        self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        self.left_out += not write_patiently(self.stream, f"{self.format(record)}\n")


def set_up(level: str, form: Literal["text", "json"] | str) -> None:
    """Send what sonde's loggers say from this level on to standard error, in this form; again replaces it."""
    handler = PatientHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.left_out = sum(each.left_out for each in LOGGER.handlers if isinstance(each, PatientHandler))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False
    # libbpf tells each step at debug; what went wrong there is in our errors.
    logging.getLogger("sonde.libbpf").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
