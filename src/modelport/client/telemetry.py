"""Lets a trace of the caller's go on in the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

_NONE: Mapping[str, str] = {}


def trace_headers() -> Mapping[str, str]:
    """Give the headers that carry the current span (``traceparent``), where there is one.

    Only a program that has loaded OpenTelemetry can be inside a span of it, so it is never
    imported here first.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return _NONE
    carrier: dict[str, str] = {}
    import_module("opentelemetry.propagate").inject(carrier)
    return carrier
