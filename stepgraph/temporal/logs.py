"""Logs: structlog over the standard library's logging, for people on a console or for machines as JSON.

The library logs to the loggers ``stepgraph.*`` and configures nothing; an application that configures logging its own
way gets the events with their keys as ``extra``-like text. The commands call `configure_logging`.

Keys bound wherever they are known: ``graph``, ``thread``, ``run``, ``step``, ``node``, ``checkpoint_id``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

from stepgraph.errors import StepgraphError
from stepgraph.temporal import settings
from stepgraph.temporal.sdk_internals import reports_activity_failure

_SHARED: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_BARE = structlog.stdlib.ProcessorFormatter.wrap_for_formatter


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger ``stepgraph.<name>``."""
    return cast(
        structlog.stdlib.BoundLogger,
        structlog.wrap_logger(
            logging.getLogger(f"stepgraph.{name}"),
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[*_SHARED, _finish],
            cache_logger_on_first_use=True,
        ),
    )


def configure_logging(format: str | None = None, level: str | None = None) -> None:
    """Sends all logs of the process to standard error, as ``console`` or ``json``; by default as the settings say."""
    chosen = format or settings.text("STEPGRAPH_LOG_FORMAT") or ("console" if sys.stderr.isatty() else "json")
    if chosen not in ("console", "json"):
        raise StepgraphError(
            f"STEPGRAPH_LOG_FORMAT must be 'console' or 'json'; got {chosen!r}.",
            setting="STEPGRAPH_LOG_FORMAT",
        )
    threshold = (level or settings.text("STEPGRAPH_LOG_LEVEL", "info") or "info").upper()
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
            foreign_pre_chain=_SHARED[1:],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if chosen == "json" else []),
                renderer,
            ],
        )
    )
    global _configured
    _configured = chosen
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    quiet_sdk()


def quiet_sdk() -> None:
    """Keeps the SDK from logging each failed node a second time, with a traceback: stepgraph reports it itself."""
    logger = logging.getLogger("temporalio.activity")
    if _is_no_repetition not in logger.filters:
        logger.addFilter(_is_no_repetition)


_configured = ""


def log_format() -> str:
    """The format that `configure_logging` was told; empty without it."""
    return _configured


def _finish(logger: Any, method: str, event: Any) -> Any:
    """Hands the event to the formatter of `configure_logging`, or, without it, to whatever logging there is as text."""
    if _configured:
        return _BARE(logger, method, event)
    for key in ("logger", "level", "timestamp"):
        event.pop(key, None)
    text = event.pop("event")
    carried = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    return (f"{text} {' '.join(f'{key}={value!r}' for key, value in event.items())}".strip(),), carried


def _is_no_repetition(record: logging.LogRecord) -> bool:
    """Whether the SDK's record says what stepgraph has not: failures of other activities are none of its business."""
    error = record.exc_info[1] if record.exc_info else None
    reported = getattr(error, "reported_by_stepgraph", False)
    return not (reported and reports_activity_failure(record))
