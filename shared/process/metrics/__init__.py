"""What a process measures of itself, for Prometheus. Nothing here is imported where `CLAW_METRICS_PORT` is not set."""
