"""Draws command lines of `starter.py` and `worker.py`, and runs them in this process.

A text of a command line may be THREAD, which stands for a thread that waits at an interrupt, or FOLDER, where the files
of `GRAPH_FILES` are.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import typer
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from stepgraph.cli import starter_app, worker_app
from stepgraph.temporal import logs
from tests.attack.oracle import CALL_SECONDS, Fault

Words = tuple[str, ...]

GRAPH_FILES = {
    "exits.py": "raise SystemExit(3)",
    "interrupts.py": "raise BaseException('no')",
    "generator_exit.py": "raise GeneratorExit",
    "fails.py": "1 / 0",
    "unprintable.py": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
    "syntax.py": "def",
    "null.py": "\0",
    "recursion.py": "def f(): return f()\nf()",
    "empty.py": "",
    "other.py": "graph = 5\ncompile = lambda: None",
    "hostile.py": "class G:\n    def __getattr__(self, name): raise OSError(name)\ngraph = G()",
    "imports.py": "import no_such_module",
    "noisy.py": "print('noise')\nimport sys\nprint('noise', file=sys.stderr)",
    "latin.py": "# \xff",
}

odd_texts = st.sampled_from(
    [
        *("", " ", "x", "-", "--", "-1", "@", "@/", "@FOLDER", "@no-such-file", "ü🙂", "\ud800", "\0", "\n", "a\tb"),
        *("x" * 300, "'\"%_\\", "[red]", "[/]", "null", "{}", "[]", "5", "NaN", "1e400", "9" * 5000, "[" * 2000),
        *('{"log": ["x"]}', '{"do": "go"}', '{"cuont": 1}', '{"any": ' + "[" * 150 + "]" * 150 + "}", '{"\\ud800": 1}'),
    ]
)
threads = st.just("THREAD") | st.just("no-such-thread") | odd_texts
addresses = (
    st.sampled_from(sorted(GRAPH_FILES)).map(lambda name: f"FOLDER/{name}:graph")
    | st.sampled_from(
        ["FOLDER:graph", "json:loads", "a..b:c", ":", "::", "x:", ":x", "os.path:", ".py:x", "FOLDER/,", ","]
    )
    | odd_texts
)
names = st.sampled_from(["attacked-sync-thread", "attcked", "no such graph"]) | addresses
numbers = st.sampled_from(["1", "0", "-1", "x", "9" * 30, "1.5", ""])
references = st.sampled_from(["0", "1", "-1", "000001"]) | odd_texts
jsons = st.sampled_from(['{"log": ["by hand"]}', '{"any": 5}', '"yes"']) | odd_texts

POSITIONAL: Mapping[str, tuple[st.SearchStrategy[str], ...]] = {
    "run": (names,),
    "resume": (threads,),
    "state": (threads,),
    "history": (threads,),
    "threads": (),
    "graph": (addresses,),
    "update": (threads,),
    "fork": (threads,),
    "replay": (threads, references),
    "tree": (threads,),
}
OPTIONS: Mapping[str, st.SearchStrategy[str] | None] = {
    "--input": jsons,
    "--thread": threads,
    "--on-busy": st.sampled_from(["enqueue", "refuse", "later"]),
    "--recursion-limit": numbers,
    "--answer": jsons,
    "--interrupt": odd_texts,
    "--checkpoint": references,
    "--limit": numbers,
    "--graph": names,
    "--values": jsons,
    "--as-node": st.sampled_from(["work", "human", "wrok"]) | odd_texts,
    "--task-id": odd_texts,
    "--to": odd_texts,
    "--json": None,
    "--mermaid": None,
    "--diff": None,
    "--detach": None,
    "--help": None,
}
"""`None`: the option is a flag."""

TAKES = {
    "run": ("--input", "--thread", "--on-busy", "--recursion-limit", "--detach", "--json"),
    "resume": ("--answer", "--interrupt", "--graph", "--recursion-limit", "--detach", "--json"),
    "state": ("--checkpoint", "--json"),
    "history": ("--limit", "--mermaid", "--json"),
    "threads": ("--graph", "--limit", "--json"),
    "graph": ("--json",),
    "update": ("--values", "--as-node", "--task-id", "--checkpoint", "--graph", "--json"),
    "fork": ("--values", "--as-node", "--checkpoint", "--to", "--detach", "--json"),
    "replay": ("--detach", "--json"),
    "tree": ("--diff", "--json"),
}


@st.composite
def starter_lines(draw: st.DrawFn) -> Words:
    """Draw a command of `starter.py`, with options that it takes, or in rare cases any."""
    command = draw(st.sampled_from(sorted(TAKES)))
    words = [command, *(draw(each) for each in POSITIONAL[command])]
    known = TAKES[command] if draw(st.integers(0, 9)) else tuple(OPTIONS)
    for option in draw(st.lists(st.sampled_from(known), max_size=3, unique=True)):
        value = OPTIONS[option]
        words += [option] if value is None else [option, draw(value)]
    if command == "run" and "--input" not in words:
        words += ["--input", draw(jsons)]
    return tuple(words)


worker_lines = st.builds(
    lambda addresses, options: ("--check", *addresses, *options),
    st.lists(addresses, max_size=2),
    st.sampled_from(
        [(), ("--task-queue", ""), ("--task-queue", "\n"), ("--log-format", "xml"), ("--task-queue", "x" * 3000)]
    ),
)


async def run_line(
    app: typer.Typer, words: Words, places: Mapping[str, str], env: Mapping[str, str], folder: Path
) -> str:
    """Run a command line in a folder, and return what it has printed.

    Raises:
        Fault: the command hangs, has a traceback, calls its error unexpected, or ends with another status than 0 to 2.
    """
    for name, place in places.items():
        words = tuple(word.replace(name, place) for word in words)
    with _unchanged_process(), chdir(folder):
        async with asyncio.timeout(CALL_SECONDS * 2):
            ended = await asyncio.to_thread(_invoke, app, words, env)
    if isinstance(ended, BaseException):
        raise Fault(f"{words}: {type(ended).__name__}: {ended}")
    printed = ended.output
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise Fault(f"{words}: {type(ended.exception).__name__}: {ended.exception}")
    if ended.exit_code not in (0, 1, 2) or "Traceback" in printed or "should not have happened" in printed:
        raise Fault(f"{words}: status {ended.exit_code}: {printed[-600:]}")
    return printed


def _invoke(app: typer.Typer, words: Words, env: Mapping[str, str]) -> Result | BaseException:
    """Return what a command line has printed, or what no command has caught."""
    try:
        return CliRunner().invoke(app, list(words), env=dict(env), input="")
    except BaseException as error:
        return error


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Restore what a command changes of its process: its logging, and where it finds modules."""
    root = logging.getLogger()
    handlers, level, path = root.handlers[:], root.level, sys.path[:]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.path[:] = path
        logs._format = ""


def write_graph_files(folder: Path) -> None:
    """Write the files whose code is no graph."""
    for name, text in GRAPH_FILES.items():
        (folder / name).write_bytes(text.encode("latin-1"))


APPS: Mapping[str, Any] = {"starter.py": starter_app.app, "worker.py": worker_app.app}
