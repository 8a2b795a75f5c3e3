"""The manifest next to an export: what is in the file, and on which grounds. Pure."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ops.export.contents import Order, Summary

SCHEMA_VERSION: Final = 1
"""Of the manifest and of the columns of tables."""


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file is."""
    return path.with_name(f"{path.name}.manifest.json")


def manifest_of(
    export_id: str, path: Path, order: Order, summary: Summary, *, sha256: str, created_at: datetime
) -> dict[str, Any]:
    """The manifest as JSON; `people` are the ids of everyone whose words are in the file.

    `redaction` is null if texts are as they were written.
    """
    filters = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(order.filters).items()
    }
    return {
        "id": export_id,
        "file": path.name,
        "format": order.format,
        "schema_version": SCHEMA_VERSION,
        "created_at": created_at.isoformat(),
        "sha256": sha256,
        "examples": summary.examples,
        "turns": summary.turns,
        "left_out": {why.name.lower(): count for why, count in sorted(summary.left_out.items())},
        "filters": filters,
        "context_turns": order.context_turns,
        "redaction": _redaction(order, summary),
        "attestations": summary.attested,
        "people": sorted(summary.people),
    }


def _redaction(order: Order, summary: Summary) -> dict[str, Any] | None:
    if order.redaction is None:
        return None
    return {
        "by": order.redaction.by,
        "kinds": list(order.redaction.kinds),
        "replaced": dict(sorted(summary.replaced.items())),
    }
