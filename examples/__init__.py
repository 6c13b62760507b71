"""Example graphs. Each file is a program: ``python examples/research.py``."""
