"""Graphs a newcomer can run and read."""
