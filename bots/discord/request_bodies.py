"""The request bodies by which the parts of a reply are posted.

Pure: no I/O. It must never refer to a question from another channel than the question's own.
"""

from bots.discord.audience import user_id_of
from bots.discord.buttons import custom_ids_on, final_row
from bots.discord.channels import body_of
from bots.discord.payloads import Json
from bots.platform import Part
from shared.messages import Address
from shared.replies import Reply


def body_of_part(part: Part) -> Json:
    """A part as a message; the last part has the buttons."""
    reply = part.reply
    last = part.index == part.count - 1 and reply.erased is None
    owner = user_id_of(reply.user)
    return body_of(part.text, final_row(owner, reply.prompt_id, reply.outcome) if last else [])


def is_outside_direct(reply: Reply) -> bool:
    """Whether an answer belongs anywhere but in the direct messages with its asker."""
    return reply.place.audience != "direct"


def with_reference(body: Json, part: Part, channel: int) -> Json:
    """Add the reference to the question if this is the first part, in the question's channel."""
    address = part.reply.address
    if part.index or channel != int(address["channel"]):
        return body
    # Refusals have no buttons with ids, so only their references tell two of them apart.
    refused = part.reply.outcome == "refused" and "token" not in address
    return {**body, **(reference_to(address) if refused else reference(address))}


def reference(address: Address) -> Json:
    """The reference that makes a message a reply to the question; empty if it should not be one."""
    if address.get("reply") != "1" and address.get("open") != "1":
        return {}
    return reference_to(address)


def reference_to(address: Address) -> Json:
    """The reference that makes a message a reply to the question."""
    reference = {"message_id": address["message"], "fail_if_not_exists": False}
    return {"message_reference": reference}


def is_shown(sent: Json, body: Json) -> bool:
    """Whether a message shows exactly this."""
    same_text: bool = sent["content"].strip() == body["content"].strip()
    return same_text and custom_ids_on(sent) == custom_ids_on(body)
