"""Foundations of every process: tasks, log, limits."""
