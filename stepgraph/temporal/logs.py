"""Logs: structlog over the standard library's logging, as text on a console or as JSON.

The library logs to the loggers ``stepgraph.*`` and configures nothing. An application with its own logging
configuration gets each event as one line of text: the event's name, then its keys and values. stepgraph's commands call
`configure_logging`.

Events carry these keys where they are known: ``graph``, ``thread``, ``run``, ``step``, ``node``, ``checkpoint_id``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

from stepgraph.errors import StepgraphError
from stepgraph.temporal import settings
from stepgraph.temporal.sdk_internals import reports_activity_failure

_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
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


def configure_logging(format: str | None = None, level: str | None = None) -> None:
    """Send all logs of the process to standard error, those of other libraries included.

    Args:
        format: ``console`` or ``json``; by default `STEPGRAPH_LOG_FORMAT`, else ``console`` on a terminal and ``json``
            elsewhere.
        level: the lowest level to log, in any case; by default `STEPGRAPH_LOG_LEVEL`, else ``info``.

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
