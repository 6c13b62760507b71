"""``python -m stepgraph``: the operator's command line."""

from stepgraph.cli.starter_app import main

if __name__ == "__main__":
    main()
