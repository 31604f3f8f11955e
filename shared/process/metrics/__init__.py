"""Metrics of a process, for Prometheus. Nothing here is imported where `CLAW_METRICS_PORT` is not set."""
