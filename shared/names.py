"""Builds every subject, stream and bucket name.

Pure. Subjects are built here and nowhere else, from tokens of `user_names.py`, so that no user's
name can become a wildcard or another user's subject.
"""

import re
from typing import Final

from shared.user_names import BadName, is_token, split_user

# --- streams and buckets ---------------------------------------------------------------------

PROMPTS: Final = "PROMPTS"
REPLIES: Final = "REPLIES"
DLQ: Final = "DLQ"
ADVISORIES: Final = "ADVISORIES"

BLOBS: Final = "BLOBS"
"""The stream of files that are too large for a message (`blobs.py`)."""

RECEIPTS: Final = "RECEIPTS"
"""The key-value bucket in which relays record what they posted."""

RECEIPTS_STREAM: Final = f"KV_{RECEIPTS}"
RECEIPTS_PREFIX: Final = f"$KV.{RECEIPTS}."
"""A bucket's stream and subjects, as NATS's ADR-8 names them."""

LINKS: Final = "LINKS"
"""The key-value bucket of the codes with which people link their accounts."""

LINKS_STREAM: Final = f"KV_{LINKS}"
LINKS_PREFIX: Final = f"$KV.{LINKS}."

LEASES: Final = "LEASES"
"""The key-value bucket that says which process of an adapter is the one that may run."""

LEASES_STREAM: Final = f"KV_{LEASES}"
LEASES_PREFIX: Final = f"$KV.{LEASES}."

# --- what the streams take -------------------------------------------------------------------

PROMPT_SUBJECTS: Final = "prompts.*.*"
REPLY_SUBJECTS: Final = "replies.*.*.*"
DEAD_LETTER_SUBJECTS: Final = "dlq.>"
DEAD_PROMPTS: Final = "dlq.p."
"""How the subjects of dead letters begin that are stored events."""
DEAD_REPLIES: Final = "dlq.replies."
"""How the subjects of dead letters begin that are replies."""

BLOB_SUBJECTS: Final = "blobs.*.*.*"
ADVISORY_SUBJECTS: Final = (
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
    "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
)

HISTORY_SUBJECTS: Final = "history.*.*"
FIGURES_SUBJECT: Final = "figures.web"
REPLAY_SUBJECT: Final = "replay.web"

STORED_PROMPTS: Final = "p.>"
"""All stored events, after the server's transform."""

PARTITION_TRANSFORM: Final = "p.{{{{partition({})}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"
"""Adds the partition, of so many, to an event's subject when the server stores it.

Without token numbers the whole subject is hashed. The server refuses `.>` with this source (10156).
"""

MEMBERS_HELLO: Final = "dataflow.hello"
MEMBER_BEATS: Final = "dataflow.beats"
CLAIMS_CHANGED: Final = "dataflow.claims"
"""Where the processes of the dataflow tell each other that they live, and what they claimed."""

GATEWAY_SUBJECT: Final = "prompts"
"""Where any NATS client can ask a question, by plain request and reply."""

GUESTS_SUBJECT: Final = "prompts.guest"
"""Where the server puts requests of clients without credentials.

No client may publish here, so whatever arrives really comes from a guest. The subject has two
tokens and the prompt stream takes three, so the stream does not store it.
"""

INBOX_PREFIX: Final = "_INBOX"
"""The start of an inbox's first token: clients use `_INBOX`, roles use `_INBOX_<role>`."""

_STORED_PROMPTS: Final = re.compile(r"p\.([0-9]{1,3})\.>")


# --- subjects --------------------------------------------------------------------------------


def prompt_subject(user: str) -> str:
    """Where an adapter publishes a user's events."""
    platform, token = split_user(user)
    return f"prompts.{platform}.{token}"


def stored_prompts(partition: int) -> str:
    """The filter for one partition of the stored events, after the server's transform."""
    return f"p.{partition}.>"


def partition_of_filter(subject: str) -> int | None:
    """The partition of a `stored_prompts` filter; None if it is another filter."""
    found = _STORED_PROMPTS.fullmatch(subject)
    return None if found is None else int(found[1])


def stored_prompts_of(user: str) -> str:
    """The filter for the stored events of one user, in whatever partition."""
    platform, token = split_user(user)
    return f"p.*.{platform}.{token}"


def user_of_stored(subject: str) -> str:
    """The user of a stored event's subject `p.<n>.<platform>.<token>`.

    Raises:
        BadName: the subject does not have that form.
    """
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != "p":  # noqa: PLR2004
        raise BadName(f"not a stored prompt's subject: {subject[:100]!r}")
    user = f"{parts[2]}:{parts[3]}"
    split_user(user)
    return user


def reply_subject(user: str, prompt_id: str) -> str:
    """The subject of one reply; the journal stores at most one message on it."""
    platform, token = split_user(user)
    return f"replies.{platform}.{token}.{prompt_id}"


def replies_to_platform(platform: str) -> str:
    """The filter for all replies to a platform's users."""
    return f"replies.{platform}.>"


def replies_to_user(user: str) -> str:
    """The filter for all replies to one user."""
    return reply_subject(user, "*")


def partial_subject(user: str, prompt_id: str) -> str:
    """Where an answer is sent while it grows."""
    platform, token = split_user(user)
    return f"partials.{platform}.{token}.{prompt_id}"


def partials_to_platform(platform: str) -> str:
    """The filter for growing answers to a platform's users."""
    return f"partials.{platform}.>"


def partials_to_user(user: str) -> str:
    """The filter for growing answers to one user."""
    return partial_subject(user, "*")


def history_subject(user: str) -> str:
    """Where an adapter asks the recorder for what it has recorded of a user."""
    platform, token = split_user(user)
    return f"history.{platform}.{token}"


def user_of_history(subject: str) -> str:
    """The user of a `history_subject`.

    Raises:
        BadName: it is not one.
    """
    user = subject.removeprefix("history.").replace(".", ":", 1)
    split_user(user)
    return user


def blob_subject(name: str, piece: int) -> str:
    """Where one piece of a file is stored.

    Raises:
        BadName: the name is not one token that begins with the platform and a hyphen.
    """
    platform, _, _ = name.partition("-")
    if not is_token(platform) or not is_token(name):
        raise BadName(f"not a blob's name: {name[:40]!r}")
    return f"blobs.{platform}.{name}.{piece}"


def blob_pieces(name: str) -> str:
    """The filter for all pieces of a file."""
    return blob_subject(name, 0).rpartition(".")[0] + ".*"


def sender_of(subject: str) -> str:
    """The sender's part of a subject: everything up to the user's token."""
    tokens = subject.split(".")
    return ".".join(tokens[: 4 if tokens[0] == "p" else 3])


def first_receipts() -> str:
    """The filter for the receipts of the first parts of all replies."""
    return f"{RECEIPTS_PREFIX}*.*.0"


def prompt_of_receipt(subject: str) -> tuple[str, str]:
    """The platform and the prompt id of a receipt's subject."""
    platform, prompt_id, _ = subject.removeprefix(RECEIPTS_PREFIX).split(".")
    return platform, prompt_id


def link_code_subject(code_hash: str) -> str:
    """Where the code with this hash is stored."""
    return f"{LINKS_PREFIX}{code_hash}"


def lease_subject(name: str, key: str) -> str:
    """Where one value of a lease is stored: who holds it, or what its next holder must know."""
    return f"{LEASES_PREFIX}{name}.{key}"


def lease_notes(name: str) -> str:
    """Where the processes that want a lease tell each other about it; nothing is stored."""
    return f"leases.{name}"


def peer_notes(platform: str) -> str:
    """Where the processes of one adapter tell each other news; nothing is stored."""
    return f"peers.{platform}.notes"


def peer_subject(platform: str, peer: str, *rest: str) -> str:
    """Where one process of an adapter is addressed by the others."""
    return ".".join(("peers", platform, peer, *rest))


def dead_letter_subject(subject: str) -> str:
    """Where an unreadable message goes, given the subject on which it came."""
    return f"dlq.{subject}"


def user_of_dead_letter(subject: str) -> str:
    """The user of a dead letter's subject: the one who wrote the event, or gets the reply.

    Raises:
        BadName: it has none.
    """
    if subject.startswith(DEAD_PROMPTS):
        return user_of_stored(subject.removeprefix(dead_letter_subject("")))
    parts = subject.split(".")
    if not subject.startswith(DEAD_REPLIES) or len(parts) != 5:  # noqa: PLR2004
        raise BadName(f"not a dead letter of a user: {subject[:100]!r}")
    user = f"{parts[2]}:{parts[3]}"
    split_user(user)
    return user


# --- the server's own subjects ---------------------------------------------------------------


def api_subject(call: str) -> str:
    """The subject of a call to JetStream's API, such as `STREAM.INFO.PROMPTS`."""
    return f"$JS.API.{call}"


def stream_info(stream: str) -> str:
    """The API call that describes a stream."""
    return f"STREAM.INFO.{stream}"


def consumer_info(stream: str, consumer: str) -> str:
    """The API call that describes a consumer."""
    return f"CONSUMER.INFO.{stream}.{consumer}"


def next_messages(stream: str, consumer: str) -> str:
    """The API call that asks for a consumer's next messages."""
    return f"CONSUMER.MSG.NEXT.{stream}.{consumer}"


def ack_prefix(stream: str) -> str:
    """How the subjects begin on which a stream's deliveries are acknowledged."""
    return f"$JS.ACK.{stream}."


def inbox_prefix(role: str) -> str:
    """How the inboxes of a role begin."""
    return f"{INBOX_PREFIX}_{role}"
