"""Killed workers and killed servers, at random moments, under threads of all shapes and on busy cores.

``make chaos CHAOS="--seconds 300"`` prints figures, and exits with 1 if something was lost, doubled, stuck or is
unreadable. `shapes.py` has the graphs, whose nodes note in a ledger (`ledger.py`) what they do. `processes.py` runs and
kills real processes: `worker.py`, the Temporal server on a database file, and burners of the cores' time. `stories.py`
drives the threads. `verdict.py` compares the threads with the ledger.
"""
