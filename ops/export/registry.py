"""Records an export in the database, so that its people can be told about it later."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from shared.database.tables import events, export_people, exports

WITHDRAWALS: Final = ("configure", "deleted", "forget")
"""Kinds of events after which a file with a person's words may not be what the person wants."""

PEOPLE_AT_ONCE: Final = 500


class Withdrawn(Exception):
    """Somebody deleted a message or changed a choice meanwhile: export again."""


def register(
    connection: sa.Connection, manifest: dict[str, Any], path: str, *, seen_until: datetime | None
) -> None:
    """Records an export. The caller commits, and only then gives the file its name.

    `seen_until` is when the latest event was stored that the export has considered.

    Raises:
        Withdrawn: somebody whose words are in the export has since said otherwise.
    """
    users: list[str] = manifest["people"]
    for begin in range(0, len(users), PEOPLE_AT_ONCE):
        if _withdrawn(connection, users[begin : begin + PEOPLE_AT_ONCE], seen_until):
            raise Withdrawn
    connection.execute(
        exports.insert(),
        {
            "id": manifest["id"], "path": path, "format": manifest["format"],
            "created_at": datetime.fromisoformat(manifest["created_at"]),
            "sha256": manifest["sha256"], "examples": manifest["examples"],
            "schema_version": manifest["schema_version"],
        },
    )  # fmt: skip
    if users:
        rows = [{"export_id": manifest["id"], "user_id": user} for user in users]
        connection.execute(export_people.insert(), rows)


def _withdrawn(connection: sa.Connection, users: list[str], seen_until: datetime | None) -> bool:
    later = [events.c.stored_at > seen_until] if seen_until is not None else []
    found = sa.select(events.c.id).where(
        events.c.user_id.in_(users), events.c.kind.in_(WITHDRAWALS), *later
    )
    return connection.execute(found.limit(1)).first() is not None
