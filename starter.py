"""The operator's command line: run, resume and read threads. ``python starter.py --help``"""

from stepgraph.cli.starter_app import main

if __name__ == "__main__":
    main()
