"""Traces. `shared/tracing.py` is what the rest of the program calls.

`ids`, `settings` and `span` are always imported; `export`, `recording` and `sending`, which import
OpenTelemetry, only if traces are on.
"""
