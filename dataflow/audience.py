"""Who may hear what.

Pure, and the only place that decides it. It must never let words reach a reader who could not read
them where they were written.
"""

from shared.messages import Place


def may_recall(said_in: Place, here: Place) -> bool:
    """Whether words of a user's conversation in one place may be used for an answer in another.

    The theory: let R(p) be everybody who can read place p. Words that were written in q may be used
    in p only if R(p) is a subset of R(q), now and for everybody who joins later. Platforms do not
    report R(p): it depends on members, guests, roles, overwrites and companies that share a
    channel, and it changes without notice. Two cases need no knowledge of it:

    - **p is a direct message with this user.** R(p) is the user alone. The words are the user's own
      or were written to the user, who could read them in q.
    - **p and q are the same channel**, and so R(p) = R(q): whoever joins a channel can read its
      history. Adapters make this true. A private thread, or a channel from the moment another
      company shares it, gets a space or channel of its own; a place whose history is hidden from
      newcomers is marked `alone`, and each question there stands by itself.

    A channel that was private when the words were written may since have been opened. Platforms
    then show its history too, but people wrote there in private: such words stay in their thread.
    Everything else is refused, also from one public channel into another: guests, and members who
    are locked out of the first channel by an overwrite, can read the second one only.
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
    """Whether two places are one conversation on the screen.

    `space` may differ: it names the readers, and they change while people go on writing. This says
    nothing about who may hear what.
    """
    return (
        one.thread == other.thread
        and one.channel == other.channel
        and one.platform == other.platform
    )


def same_channel(one: Place, other: Place) -> bool:
    """Whether two places are in one channel, whoever could read it at the time."""
    return one.channel == other.channel and one.platform == other.platform
