"""The operator's command line: runs, resumes and reads threads. ``python starter.py --help`` lists its commands."""

from stepgraph.cli.starter_app import main

if __name__ == "__main__":
    main()
