"""Starts a worker process for graphs. ``python worker.py --help`` lists its options."""

from stepgraph.cli.worker_app import main

if __name__ == "__main__":
    main()
