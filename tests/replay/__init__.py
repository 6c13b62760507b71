"""Recorded histories that every test run replays, to notice a change that would break threads in flight."""
