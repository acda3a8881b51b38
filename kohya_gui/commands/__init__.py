"""Runs and the queue from a terminal, directly on the workspace: no GUI has to be open."""
