"""Logs: structlog over the standard library's logging, as text on a console or as JSON.

The library logs to the loggers ``stepgraph.*`` and configures nothing. An application with its own logging
configuration gets each event as one line of text: the event's name, then its keys and values. stepgraph's commands call
`configure_logging`.

Events carry these keys where they are known: ``graph``, ``thread``, ``run``, ``step``, ``node``, ``checkpoint_id``.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, cast

import structlog

from stepgraph.errors import StepgraphError
from stepgraph.serde.error_text import one_line
from stepgraph.temporal import settings
from stepgraph.temporal.sdk_internals import reports_activity_failure


def _describe_error(logger: Any, method: str, event: Any) -> Any:
    """Make text of what the key ``error`` has: an error, or ``Type: text``. Hide it if `STEPGRAPH_ERROR_TEXTS` says so.

    Where texts are hidden, a traceback is, too: it ends with them.
    """
    hidden = settings.text_setting("STEPGRAPH_ERROR_TEXTS", "shown") != "shown"
    if hidden and event.get("exc_info"):
        raised = event.pop("exc_info")
        raised = sys.exc_info() if raised is True else raised
        event["error"] = (raised[0] if isinstance(raised, tuple) else type(raised)) or Exception
    error = event.get("error")
    if error is None:
        return event
    event["error"] = _without_text(error) if hidden else error.message if isinstance(error, StepgraphError) else error
    return event


def _without_traceback(logger: Any, method: str, event: Any) -> Any:
    """Replace an event's traceback by its error, on one line."""
    raised = event.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {one_line(error)}"
    return event


def _without_text(error: Any) -> str:
    """Return an error's type and, as far as it has them, the type of the node's exception and the node."""
    if isinstance(error, type):
        return error.__name__
    if not isinstance(error, StepgraphError):
        type_at_start = re.match(r"[A-Za-z_][\w.]*(?=[:(]|$)", str(error))
        return type_at_start[0] if type_at_start else "(hidden)"
    own_type = str(error.parts.get("error_type", "")).rpartition(":")[2]
    node = error.parts.get("node")
    return type(error).__name__ + (f": {own_type}" if own_type else "") + (f" at node {node!r}" if node else "")


_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _describe_error,
]
_WRAP_FOR_FORMATTER = structlog.stdlib.ProcessorFormatter.wrap_for_formatter


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger ``stepgraph.<name>``."""
    return cast(
        structlog.stdlib.BoundLogger,
        structlog.wrap_logger(
            logging.getLogger(f"stepgraph.{name}"),
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[*_PROCESSORS, _render],
            cache_logger_on_first_use=True,
        ),
    )


def configure_logging(format: str | None = None, level: str | None = None, *, tracebacks: bool = True) -> None:
    """Send all logs of the process to standard error, those of other libraries included.

    Args:
        format: ``console`` or ``json``; by default `STEPGRAPH_LOG_FORMAT`, else ``console`` on a terminal and ``json``
            elsewhere.
        level: the lowest level to log, in any case; by default `STEPGRAPH_LOG_LEVEL`, else ``info``.
        tracebacks: whether a line is followed by the traceback of its error. If not, only level ``debug`` shows
            tracebacks.

    Raises:
        StepgraphError: the format or the level does not exist. Logging is unchanged then.
    """
    chosen = format or settings.text_setting("STEPGRAPH_LOG_FORMAT") or ("console" if sys.stderr.isatty() else "json")
    if chosen not in ("console", "json"):
        raise StepgraphError(
            f"STEPGRAPH_LOG_FORMAT must be 'console' or 'json'; got {chosen!r}.",
            setting="STEPGRAPH_LOG_FORMAT",
        )
    threshold = (level or settings.text_setting("STEPGRAPH_LOG_LEVEL", "info") or "info").upper()
    if threshold not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise StepgraphError(
            f"STEPGRAPH_LOG_LEVEL must be debug, info, warning or error; got {threshold.lower()!r}.",
            setting="STEPGRAPH_LOG_LEVEL",
        )
    renderer: Any = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    if chosen == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_PROCESSORS[1:],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if tracebacks or threshold == "DEBUG" else [_without_traceback]),
                *([structlog.processors.format_exc_info] if chosen == "json" else []),
                renderer,
            ],
        )
    )
    global _format
    _format = chosen
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    quiet_sdk()


def quiet_sdk() -> None:
    """Keep the SDK from logging each failed node a second time, with a traceback: stepgraph logs it itself."""
    logger = logging.getLogger("temporalio.activity")
    if _is_not_duplicate not in logger.filters:
        logger.addFilter(_is_not_duplicate)


_format = ""


def log_format() -> str:
    """Return the format that `configure_logging` has set up; an empty string if it was not called."""
    return _format


def _render(logger: Any, method: str, event: Any) -> Any:
    """Pass the event to `configure_logging`'s formatter if there is one, otherwise to `logging` as a line of text."""
    if _format:
        return _WRAP_FOR_FORMATTER(logger, method, event)
    for key in ("logger", "level", "timestamp"):
        event.pop(key, None)
    text = event.pop("event")
    keywords = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    return (f"{text} {' '.join(f'{key}={value!r}' for key, value in event.items())}".strip(),), keywords


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    """Return false for the SDK's record of a failure that stepgraph has logged. Failures of other activities pass."""
    error = record.exc_info[1] if record.exc_info else None
    reported = getattr(error, "reported_by_stepgraph", False)
    return not (reported and reports_activity_failure(record))
