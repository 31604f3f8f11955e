"""Traces by OpenTelemetry, an extra: what a request went through, as spans that a collector gets."""
