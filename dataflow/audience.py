"""Which earlier messages may be used for an answer, depending on who can read it.

Pure, and the only place that decides this. It must never let a text reach a reader who could not
read it where it was written.
"""

from shared.messages import Place


def may_recall(said_in: Place, here: Place) -> bool:
    """Whether a user's conversation in one place may be used for an answer in another.

    The theory: let R(p) be everyone who can read place p. A text from q may be used in p only if
    R(p) is a subset of R(q), now and for everyone who joins later. Platforms do not report R(p): it
    depends on members, guests, roles, overwrites and companies that share a channel, and it changes
    without notice. Two cases do not depend on it:

    - **p is a direct message with this user.** R(p) is the user alone, who could read q: the text
      is the user's own, or an answer to the user.
    - **p and q are the same channel**, so R(p) = R(q): anyone who joins a channel can read its
      history. Adapters make this true. A private thread, or a channel once another company shares
      it, gets a space or channel of its own. A place whose history is hidden from newcomers is
      marked `alone`, and each of its questions is answered without any history.

    A channel may have been private when the text was written, and public now. Platforms then show
    its history, but people wrote there in private, so such a text stays in its thread.
    Everything else is refused, even from one public channel to another. Guests may be able to read
    only the second channel, and so may members whom an overwrite keeps out of the first.
    """
    if said_in.platform != here.platform:
        return False
    if here.audience == "direct":
        return True
    if said_in.audience == "direct" or said_in.alone or here.alone:
        return False
    if (said_in.space, said_in.channel) != (here.space, here.channel):
        return False
    opened_since = said_in.audience == "private" and here.audience == "public"
    return said_in.thread == here.thread or not opened_since


def same_thread(one: Place, other: Place) -> bool:
    """Whether two places are one thread on the screen.

    `space` may differ: it identifies the readers, who change while a thread goes on. So this says
    nothing about what may be used where.
    """
    return (
        one.thread == other.thread
        and one.channel == other.channel
        and one.platform == other.platform
    )


def same_channel(one: Place, other: Place) -> bool:
    """Whether two places are in one channel, even if its readers have changed."""
    return one.channel == other.channel and one.platform == other.platform
