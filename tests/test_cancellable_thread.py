"""Tests of functions that run on threads and can be stopped: they leave nothing behind in the interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import PATIENCE

PROGRAM = """
import asyncio, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from stepgraph_activities.cancellable_thread import _Call

STOPPED = {stopped}
begun = threading.Event()

def function():
    begun.set()
    while STOPPED:
        time.sleep(0.001)
    return "done"

with ThreadPoolExecutor(1) as executor:
    call = _Call(function)
    job = executor.submit(call.run)
    begun.wait()
    if STOPPED:
        call.stop()
    try:
        print(job.result())
    except BaseException as error:
        print(type(error).__name__)
    print(executor.submit(sum, [1, 2]).result())

def traced():
    return "traced"

sys.settrace(lambda *event: None)
print(traced())
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_can_be_traced_after_a_function_ran_on_a_thread(stopped: bool) -> None:
    """A debugger or a coverage tool traces calls; an error that was withdrawn must not leave Python's flag for it set.

    With the flag set, Python 3.11 never gets past the first traced call.
    """
    program = [sys.executable, "-c", PROGRAM.format(stopped=stopped)]
    ended = subprocess.run(program, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert ended.stdout.split() == ["CancelledError" if stopped else "done", "3", "traced"]
