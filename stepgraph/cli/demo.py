"""The demonstration: the examples, run for real, with what there is to see of a failure and a resume."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from stepgraph.cli import rendering
from stepgraph.cli.loading import load_graphs
from stepgraph.compiled import CompiledGraph
from stepgraph.errors import UnknownGraphError
from stepgraph.session import current
from stepgraph.snapshot import config_for

PLACES = (Path(__file__).parents[2] / "examples", Path(__file__).parents[1] / "_examples")
"""Where the examples are in a checkout, and in an installed package."""


def run(*, as_json: bool = False) -> None:
    """Runs the demonstration; as JSON, prints only what came of it."""
    console = Console(highlight=False, quiet=as_json)
    server = current().server()
    console.print(str(server))
    threads = {
        "research": _research(console, *_example("research")),
        "parallel": _parallel(console, *_example("parallel")),
    }
    console.rule("Where to look", align="left")
    for name, thread in threads.items():
        console.print(f"{name}: thread [bold]{thread['thread_id']}[/]  {server.thread_url(thread['thread_id']) or ''}")
    console.print(f"Web UI: {server.web_ui or 'see your deployment'}")
    if server.kind == "embedded":
        console.print("[dim]The embedded server stays up for some minutes; its database is kept under .stepgraph/.[/]")
    if as_json:
        print(json.dumps({"server": server.address, "web_ui": server.web_ui, "threads": threads}, indent=2))


def _research(console: Console, graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """The lesson's exercise: the middle one of three nodes fails at first."""
    config = config_for(f"research-{uuid.uuid4().hex[:8]}")
    console.rule("research: gather, analyze, report; analyze fails the first time", align="left")
    try:
        graph.invoke({"query": "state management"}, config)
    except ConnectionError as error:
        saved = graph.get_state(config)
        console.print(f"caught [bold]ConnectionError[/]: {error}")
        console.print(f"saved sources: {saved.values['sources']}")
        console.print(f"next: {saved.next}")
    console.print("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    console.print(f"result: {result['summary']}")
    history = list(graph.get_state_history(config))
    console.print(rendering.history_table(history))
    console.print(f"runs of each node: {module.runs}")
    return _outcome(config, module, history)


def _parallel(console: Console, graph: CompiledGraph, module: ModuleType) -> dict[str, Any]:
    """Two nodes side by side, of which one fails at first."""
    config = config_for(f"parallel-{uuid.uuid4().hex[:8]}")
    console.rule("parallel: flights and hotels side by side; hotels fails the first time", align="left")
    try:
        graph.invoke({"trip": "Lisbon"}, config)
    except ConnectionError as error:
        saved = graph.get_state(config)
        console.print(f"caught [bold]ConnectionError[/]: {error}")
        for task in saved.tasks:
            console.print(f"  {task.name}: {task.error or task.result}")
        console.print(f"next: {saved.next}")
    console.print("resume: invoke(None, config)")
    result = graph.invoke(None, config)
    console.print(f"result: {result['choice']}")
    console.print(f"runs of each node: {module.runs} (flights was not run again)")
    return _outcome(config, module, list(graph.get_state_history(config)))


def _outcome(config: dict[str, Any], module: ModuleType, history: list[Any]) -> dict[str, Any]:
    return {
        "thread_id": config["configurable"]["thread_id"],
        "runs": dict(module.runs),
        "steps": [snapshot.metadata["step"] for snapshot in history],
    }


def _example(name: str) -> tuple[CompiledGraph, ModuleType]:
    import sys

    for place in PLACES:
        if (place / f"{name}.py").is_file():
            (graph,) = load_graphs([f"{place / name}.py:graph"])
            return graph, sys.modules[name]
    raise UnknownGraphError(f"The example {name!r} is not installed.", graph=name)
