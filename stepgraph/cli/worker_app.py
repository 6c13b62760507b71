"""``worker.py`` / ``stepgraph-worker``: a process that runs the nodes of graphs until it is stopped.

It polls the task queue of each of its graphs, and the shared task queue, ``stepgraph``, for runs that were started by
hand. On SIGTERM it takes no more work, lets running nodes finish for up to STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS, and
ends with status 0. Other workers run again the nodes that did not finish.

Owns the life of the process: settings, signals, log lines. `stepgraph.hosting.graph_worker` makes the workers.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, NoReturn

import typer

from stepgraph.cli.arguments import Version
from stepgraph.cli.error_output import reports_errors, run_app
from stepgraph.cli.graph_loader import load_graphs
from stepgraph.errors import StepgraphError, UnknownGraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.connection import connect
from stepgraph.hosting.disk_guard import report_full_disk
from stepgraph.hosting.graph_worker import graph_worker
from stepgraph.hosting.process_store import SETTING as STORE_SETTING
from stepgraph.hosting.process_store import process_store
from stepgraph.protocol.names import SHARED_TASK_QUEUE, task_queue_of
from stepgraph.temporal import settings
from stepgraph.temporal.logs import configure_logging, get_logger
from stepgraph.temporal.program_names import worker_command
from stepgraph.temporal.storage import check_storage

log = get_logger("worker")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@reports_errors
async def worker(
    more_graphs: Annotated[list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="More graphs.")] = None,
    graphs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE; may be repeated. Also STEPGRAPH_GRAPHS."
        ),
    ] = None,
    task_queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The one task queue to poll, instead of one for each graph. Also STEPGRAPH_TASK_QUEUE."
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="console or json. Also STEPGRAPH_LOG_FORMAT.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only see whether the settings are right, the graphs load, Temporal answers."),
    ] = False,
    version: Version = False,
) -> None:
    """Runs the nodes of graphs until told to stop (SIGTERM, or Ctrl-C)."""
    configure_logging(log_format)
    addresses = [*(graphs or ()), *(more_graphs or ())] or [settings.text_setting("STEPGRAPH_GRAPHS", "") or ""]
    await _run_worker(addresses, task_queue or settings.text_setting("STEPGRAPH_TASK_QUEUE"), check=check)


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)


async def _run_worker(addresses: Sequence[str], task_queue: str | None, *, check: bool) -> None:
    """Serve graphs until a signal stops the process or a worker fails.

    Args:
        addresses: where the graphs are.
        task_queue: the one task queue to poll; by default those of the graphs, and the shared one.
        check: whether to stop before any work is taken.

    Raises:
        StepgraphError: a setting is wrong, a graph cannot be loaded, or a worker failed.
    """
    settings.run_settings()  # the runs of this worker read these later: a wrong one is reported now
    settings.check_numbers()
    grace = timedelta(seconds=settings.number_setting("STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS", 30))
    graphs = load_graphs(addresses)
    if not graphs:
        raise UnknownGraphError(
            f"A worker needs graphs: {worker_command()} --graphs MODULE:VARIABLE, or STEPGRAPH_GRAPHS=MODULE:VARIABLE."
        )
    if settings.text_setting(STORE_SETTING):
        process_store.open()  # before a node asks for it: a wrong one is reported now
    client, server = await connect()
    log.info(str(server))
    await check_storage(client)
    by_task_queue = _graphs_by_task_queue([graph.registry for graph in graphs], task_queue)
    details = {"graphs": [graph.name for graph in graphs], "task_queues": list(by_task_queue)}
    if check:
        log.info("worker could start", **details)
        return
    stop_signal = _first_stop_signal()
    reporting = asyncio.ensure_future(report_full_disk(server.folder, log.error))
    workers = [
        graph_worker(client, registries, task_queue=queue, grace=grace) for queue, registries in by_task_queue.items()
    ]
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    log.info("worker starts", **details)
    ends: list[asyncio.Future[Any]] = [stop_signal, *running]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if stop_signal.done():
        log.info("worker drains", signal=stop_signal.result(), seconds=grace.total_seconds())
    reporting.cancel()
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise StepgraphError(f"The worker cannot go on: {' '.join(str(outcome).split())}") from outcome
    log.info("worker stopped")


def _graphs_by_task_queue(graphs: list[GraphRegistry], task_queue: str | None) -> dict[str, list[GraphRegistry]]:
    """Return the graphs by task queue: all on the named one, or each on its own and all on the shared one."""
    if task_queue:
        return {task_queue: graphs}
    return {**{task_queue_of(graph.name): [graph] for graph in graphs}, SHARED_TASK_QUEUE: graphs}


def _first_stop_signal() -> asyncio.Future[str]:
    """Return a future of the name of the first SIGTERM or SIGINT. A second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    stop_signal: asyncio.Future[str] = loop.create_future()

    def on_signal(received: signal.Signals) -> None:
        stop_signal.set_result(received.name)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal, each)
    return stop_signal
