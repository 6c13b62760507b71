"""The command ``demo``: runs two of the examples, with a failure and a resume in each.

Owns what the demonstration prints. It uses graphs as a user's script does, through `CompiledGraph`.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.markup import escape

from stepgraph.cli import rendering
from stepgraph.cli.graph_loader import load_graphs
from stepgraph.errors import UnknownGraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.session import current
from stepgraph.protocol.config import Config
from stepgraph.protocol.snapshot import config_for

EXAMPLE_FOLDERS = (Path(__file__).parents[2] / "examples", Path(__file__).parents[1] / "_examples")
"""Where the examples are in a checkout, and in an installed package."""


def run(*, as_json: bool = False) -> None:
    """Run the demonstration.

    Args:
        as_json: whether to print only the results, as one JSON document.
    """
    rendering.console.quiet = as_json
    server = current().server()
    _show(server)
    threads = {
        "research": _research(*_load_example("research")),
        "parallel": _parallel(*_load_example("parallel")),
    }
    if as_json:
        rendering.print_json({"server": server.address, "web_ui": server.web_ui, "threads": threads})
        return
    rendering.heading("Where to look")
    for name, thread in threads.items():
        url = server.thread_url(thread["thread_id"])
        _show(f"{name}: thread {thread['thread_id']}{f'  {url}' if url else ''}")
    if server.kind == "embedded":
        _show("The embedded server stays up for some minutes; its database is kept under .stepgraph/.")
    _show(f"Web UI: {server.web_ui or 'wherever your deployment has it'}")


def _research(graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """Run three nodes in sequence, of which the second fails the first time."""
    config = config_for(f"research-{uuid.uuid4().hex[:8]}")
    rendering.heading("research: gather, analyze, report; analyze fails the first time")
    try:
        graph.invoke({"query": "state management"}, config)
    except ConnectionError as error:
        head = graph.get_state(config)
        _show(f"caught ConnectionError: {error}")
        _show(f"saved sources: {head.values['sources']}")
        _show(f"next: {head.next}")
    _show("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    _show(f"result: {result['summary']}")
    history = list(graph.get_state_history(config))
    rendering.show_history(history)
    _show(f"runs of each node: {module.runs}")
    return _thread_json(config, module, history)


def _parallel(graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """Run two nodes in the same super-step, of which one fails the first time."""
    config = config_for(f"parallel-{uuid.uuid4().hex[:8]}")
    rendering.heading("parallel: flights and hotels side by side; hotels fails the first time")
    try:
        graph.invoke({"trip": "Lisbon"}, config)
    except ConnectionError as error:
        head = graph.get_state(config)
        _show(f"caught ConnectionError: {error}")
        for task in head.tasks:
            _show(f"  {task.name}: {task.error or task.result}")
        _show(f"next: {head.next}")
    _show("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    _show(f"result: {result['choice']}")
    _show(f"runs of each node: {module.runs} (flights was not run again)")
    return _thread_json(config, module, list(graph.get_state_history(config)))


def _show(value: Any) -> None:
    rendering.print_line(escape(str(value)))


def _thread_json(config: Config, module: ModuleType, history: list[Any]) -> dict[str, Any]:
    return {
        "thread_id": config["configurable"]["thread_id"],
        "runs": dict(module.runs),
        "steps": [snapshot.metadata["step"] for snapshot in history],
    }


def _load_example(name: str) -> tuple[CompiledGraph, ModuleType]:
    """Return an example's graph, and its module, which counts the runs of each node."""
    for folder in EXAMPLE_FOLDERS:
        if (folder / f"{name}.py").is_file():
            (graph,) = load_graphs([f"{folder / name}.py:graph"])
            return graph, sys.modules[name]
    raise UnknownGraphError(f"The example {name!r} is not installed.", graph=name)
