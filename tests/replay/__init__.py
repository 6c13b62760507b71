"""Histories recorded once, and replayed on every run: a change that would break threads in flight is seen here."""
