"""Reports a command's errors: one message and an exit status, never a traceback.

Owns the exit statuses 1 (an error) and 130 (Ctrl-C). Wrong usage is typer's, with status 2.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, ParamSpec

import typer
from rich.markup import escape
from temporalio.service import RPCError

from stepgraph.cli import rendering
from stepgraph.client import server_error
from stepgraph.errors import NodeError, StepgraphError
from stepgraph.serde.error_text import one_line

P = ParamSpec("P")

log = logging.getLogger("stepgraph.cli")


def run_app(app: typer.Typer) -> NoReturn:
    """Run a command line to its end. What cannot be printed is told on standard error, without a traceback."""
    _open_missing_streams()
    status: int | str | None = 1
    try:
        app()
    except SystemExit as end:
        status = end.code
    except OSError as error:  # of the print that was to report another error, too
        _tell(f"The output cannot be written: {error.strerror or error}.")
    except BaseException as error:  # of typer itself
        _tell(_unexpected_error(error).message)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries again as it ends, and prints that it failed
        if not isinstance(error, BrokenPipeError):
            _tell(f"The output cannot be written: {error}.")
        status = status or 1
    sys.exit(status)


def _open_missing_streams() -> None:
    """Open those standard streams that the process was started without, so that nothing has to expect their absence."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open until the process ends)


def _tell(message: str) -> None:
    with suppress(OSError, ValueError):
        print(f"Error: {message}", file=sys.stderr, flush=True)


def reports_errors(command: Callable[P, Coroutine[Any, Any, None] | None]) -> Callable[P, None]:
    """Make a function, async or not, one that typer can call as a command, and that reports its errors.

    An argument ``as_json`` of the function decides how they are printed.

    Examples:
        >>> @app.command()  # doctest: +SKIP
        ... @reports_errors
        ... async def state(thread: ThreadArgument, as_json: AsJson = False) -> None: ...
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _reported_errors(as_json=bool(kwargs.get("as_json"))):
            work = command(*args, **kwargs)
            if work is not None:
                asyncio.run(work)

    return run


@contextmanager
def _reported_errors(*, as_json: bool) -> Iterator[None]:
    """Print an error that the body raises, and ends the command with the status for it."""
    try:
        yield
    except StepgraphError as error:
        _print_error(error, as_json=as_json)
        raise typer.Exit(1) from None
    except RPCError as error:
        _print_error(server_error(error), as_json=as_json)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        print(f"Interrupted. {_notes(error)}".rstrip(), file=sys.stderr)
        raise typer.Exit(130) from None
    except (typer.Exit, typer.BadParameter, BrokenPipeError):
        raise  # typer reports them
    except BaseException as error:  # code of the user may raise anything
        log.debug("unexpected error", exc_info=error)
        _print_error(_unexpected_error(error), as_json=as_json)
        raise typer.Exit(1) from None


def _print_error(error: StepgraphError, *, as_json: bool) -> None:
    """Print an error on standard error, or as JSON on standard output."""
    if as_json:
        rendering.print_json({"error": error.to_wire()})
        return
    rendering.print_line(f"[bold red]Error:[/] {escape(str(error))}", to=rendering.errors)
    for line in (_place_in_node(error), _notes(error)):
        if line:
            rendering.print_line(f"[dim]{escape(line)}[/]", to=rendering.errors)


def _notes(error: BaseException) -> str:
    return " ".join(getattr(error, "__notes__", ()))


def _place_in_node(error: StepgraphError) -> str:
    """Return where in the node's own code the error was raised, as a sentence; empty if that is not known."""
    if not isinstance(error, NodeError):
        return ""
    lines = [line.strip() for line in str(error.parts.get("traceback", "")).splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    return f"Raised at {places[-1].removeprefix('File ')}." if places else ""


def _unexpected_error(error: BaseException) -> StepgraphError:
    if isinstance(error, OSError):
        return StepgraphError(f"The operating system refuses it: {one_line(error)}.")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return StepgraphError(
        f"This should not have happened: {type(error).__name__}: {one_line(error)}{place}. Please report it; "
        "STEPGRAPH_LOG_LEVEL=debug shows more."
    )
