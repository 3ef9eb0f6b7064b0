"""Logs for machines and for people: with who and which connection, without secrets."""

import logging
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from toolkit.backend_settings import LogFormat
from toolkit.session.writing import write

_CONNECTION: Final[ContextVar[Mapping[str, str] | None]] = ContextVar(
    "toolkit_connection", default=None
)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "color_message",  # uvicorn's message once more, for terminals
}
# Whatever stands behind the word for a token; and parts of base64url with dots between,
# which may be a JSON Web Token, whole or its head (RFC 7515, section 3.1). Anybody has
# addresses logged: no part is given back, or begun in its middle, so that each letter
# is looked at once.
_BEARER: Final = re.compile(r"(?i:bearer)[. ]+[^\s\"',]+")
_PARTS: Final = re.compile(r"(?<![\w-])[\w-]{8,}+(?:\.[\w-]*+)++")


_LOGGERS: Final = (
    "toolkit",
    "uvicorn",
    "uvicorn.access",
    "uvicorn.error",
    "websockets",
)


def tell_connection(connection_id: str, user_id: str) -> None:
    """Put these on whatever this task, and those it starts, log from now on."""
    _CONNECTION.set({"connection_id": connection_id, "user_id": user_id})


def redact(text: str) -> str:
    """Blank out tokens."""
    return _PARTS.sub(_blanked, _BEARER.sub("<token>", text))


def _blanked(found: re.Match[str]) -> str:
    """Return what is logged of such parts: what is before a JSON object in them."""
    head, begun, _ = found[0].partition("eyJ")
    return f"{head}<token>" if begun else found[0]


class WithoutQueries(logging.Filter):
    """Takes the query off the paths that uvicorn logs: people put secrets there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its paths cut."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_query, record.args))
        return True


def _without_query(value: object) -> object:
    is_path = isinstance(value, str) and value.startswith("/")
    return str(value).partition("?")[0] if is_path else value


class Text(logging.Formatter):
    """One line for people, with the connection."""

    def __init__(self) -> None:
        """Show time, level, logger and message."""
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        about = _about(record)
        more = " ".join(f"{name}={value}" for name, value in about.items())
        text = super().format(record)
        return redact(f"{text} [{more}]" if more else text)


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        return redact(write(values).decode())


def _about(record: logging.LogRecord) -> dict[str, Any]:
    """Return the connection, and what a record brings beside its message."""
    extra = {key: one for key, one in vars(record).items() if key not in _STANDARD}
    return {**(_CONNECTION.get() or {}), **extra}


def configuration(form: LogFormat) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: all to standard error.

    Below ``INFO`` the websocket library logs the headers of handshakes, and these hold
    tokens: its level is fixed.
    """
    formatter = Json if form == "json" else Text
    handler = {
        "class": "logging.StreamHandler",
        "formatter": "ours",
        "filters": ["queries"],
        "stream": "ext://sys.stderr",
    }
    quiet = {"level": "INFO", "propagate": True, "handlers": []}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": formatter}},
        "filters": {"queries": {"()": WithoutQueries}},
        "handlers": {"stderr": handler},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": dict.fromkeys(_LOGGERS, quiet),
    }
