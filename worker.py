"""A worker process: which graphs, which task queue, which Temporal. ``python worker.py --help``"""

from stepgraph.cli.worker_app import main

if __name__ == "__main__":
    main()
