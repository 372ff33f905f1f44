"""Log records as JSON lines: log records of `logging` come in, one JSON object a line goes out.

heed logs under the name ``heed`` and shows nothing until the application asks. What heed logs never holds the text it
was given: messages of exceptions may quote it, so an error is logged by its type and its place in the source.
"""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_HOME = Path(__file__).parent


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, logger, event, then the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, in ASCII. Of an exception its type and place are told, not its message."""
        error = record.exc_info[1] if record.exc_info else None
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **({} if error is None else {"error": type(error).__name__, "where": where(error)}),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        return json.dumps(line, default=str)


def where(error: BaseException) -> str | None:
    """The deepest place in heed that the error passed, as ``guard/data.py:97``; None if it passed none."""
    places = [
        f"{Path(frame.filename).relative_to(_HOME).as_posix()}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_HOME)
    ]
    return places[-1] if places else None


@contextmanager
def json_lines(stream: TextIO) -> Iterator[None]:
    """Write what heed logs, warnings and errors by default, to a stream as JSON lines, until the block is left."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("heed")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
