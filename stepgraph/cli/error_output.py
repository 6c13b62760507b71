"""How a command fails: one clear message and an exit status, never a traceback."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from rich.markup import escape
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.cli import rendering
from stepgraph.errors import NodeError, StepgraphError

T = TypeVar("T")

log = logging.getLogger("stepgraph.cli")


def run(work: Coroutine[Any, Any, T], *, as_json: bool = False) -> T:
    """Runs a command's work. What goes wrong is told, and ends the process with status 1; Ctrl-C with 130."""
    with failing(as_json=as_json):
        return asyncio.run(work)


@contextmanager
def failing(*, as_json: bool = False) -> Iterator[None]:
    """Tells of errors rather than letting them out."""
    try:
        yield
    except StepgraphError as error:
        tell(error, as_json=as_json)
        raise typer.Exit(1) from None
    except RPCError as error:
        tell(_of_rpc(error), as_json=as_json)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        print(f"Interrupted. {_notes(error)}".rstrip(), file=sys.stderr)
        raise typer.Exit(130) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        log.debug("a fault in stepgraph", exc_info=error)
        tell(_of_fault(error), as_json=as_json)
        raise typer.Exit(1) from None


def tell(error: StepgraphError, *, as_json: bool) -> None:
    """The error on standard error, or as JSON on standard output."""
    if as_json:
        rendering.print_json({"error": error.to_wire()})
        return
    rendering.say(f"[bold red]Error:[/] {escape(str(error))}", to=rendering.errors)
    for line in (_place_in_node(error), _notes(error)):
        if line:
            rendering.say(f"[dim]{escape(line)}[/]", to=rendering.errors)


def _notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", ()))


def _place_in_node(error: StepgraphError) -> str:
    """Where in the node's own code it was raised."""
    if not isinstance(error, NodeError):
        return ""
    lines = [line.strip() for line in str(error.parts.get("traceback", "")).splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    return f"Raised at {places[-1].removeprefix('File ')}." if places else ""


def _of_rpc(error: RPCError) -> StepgraphError:
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
        return StepgraphError(f"The Temporal server stopped answering: {error}. Try again once it is back.")
    return StepgraphError(f"The Temporal server refused: {error}")


def _of_fault(error: Exception) -> StepgraphError:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return StepgraphError(
        f"This should not have happened: {type(error).__name__}: {error}{where}. Please report it; "
        "STEPGRAPH_LOG_LEVEL=debug shows more."
    )
