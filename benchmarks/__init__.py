"""Benchmarks that compare stepgraph with its peers: the same jobs, in one run, on one real Temporal server.

``python -m benchmarks --help`` lists the options. Each peer runs in a process of its own (`benchmarks.peer_host`), with
its worker beside its client, and the peers take turns. The results are ratios within one run on one machine.
"""
