"""Trying prompts: a process that keeps a model and paints what is ordered from it."""
