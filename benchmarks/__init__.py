"""stepgraph side by side with its peers, on the same work, in one run, on one real Temporal server.

``python -m benchmarks --help``. Each peer lives in a process of its own (`benchmarks.host`), its worker beside its
client, and they take turns; the figures are ratios of one run on one machine.
"""
