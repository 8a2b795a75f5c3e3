"""One unanswered question of a user: the states that it goes through.

Pure. `question_queue.py` says which question is next.
"""

from dataclasses import dataclass
from typing import Final, Literal

from dataflow.audience import same_thread
from shared.messages import Ask, Edited, Stop
from shared.replies import Outcome, Reply

FORGOTTEN: Final = "(forgotten)"
"""The text of a question whose user is forgotten. It must not be empty."""

State = Literal["waiting", "linking", "recalling", "reserving", "calling", "ended", "settling"]

QUEUED: Final[tuple[State, ...]] = ("waiting", "ended")
"""The states in which a question waits for its turn. In all others it is in progress."""


ASKING_OTHERS: Final[tuple[State, ...]] = ("reserving", "recalling", "linking")
"""The states in which something else is asked first, which nothing has to cancel."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of a question that ends without the model, and the text of its reply."""

    outcome: Outcome
    text: str = ""


@dataclass(slots=True)
class Pending:
    """A question whose reply is not in the journal yet.

        state     what happens                          next state  effect
        --------  ------------------------------------  ----------  --------------------------
        (new)     asked, asked again, edited late       waiting
        (new)     asked again, but it is forgotten      ended
        (new)     asked, but the queue is full          settling    Settle, out of turn
        (new)     asked, but it was settled before      calling     CallModel, out of turn
        waiting   its turn comes                        calling     CallModel, Settle if too long
        waiting   its turn comes, its place has a       reserving   ReservePlace
                  budget
        waiting   its turn comes, other accounts of     recalling   Recall
                  this person may recall something
        waiting   its turn comes, it is about links     linking     Link
        waiting   it is edited                          waiting
        waiting   it is stopped or deleted              ended       Cancel, if it was announced
        reserving the place's budget has room           calling     CallModel
        reserving the place's budget has no room        calling     Settle
        recalling the accounts have answered            calling     as from waiting
        linking   it is carried out                     settling    Settle
        reserving it is edited                          waiting
        reserving it is stopped or deleted              ended       Cancel, which finds nothing
        recalling, linking                              the same as reserving
        calling   it is edited                          waiting     its next CallModel replaces this
        calling   it is stopped or deleted              settling    Cancel
        ended     its turn comes                        settling    Settle
        ended     it is stopped or deleted              ended
        settling  it is stopped or deleted              settling    Cancel
        waiting, ended  a reply of a call from before   the same    in its turn, the journal is
                  it was loaded                                     asked first
        any other the journal returns its reply         (gone)
        any       the process restarts                  ended if it has an ending, else waiting

    An edit of an ended or settling question is kept in `edit`, and asked after the reply.

    A state in which a question waits for a person's approval would come between `waiting` and
    `calling`. Not being one of `QUEUED`, it would hold its thread. It would have to be stored in
    `snapshot.StoredQuestion`, or a restart would ask for the approval again.
    """

    ask: Ask
    check_journal: bool
    """Whether its reply may be in the journal already. If so, look there before the model call."""

    state: State = "waiting"
    ending: Ending | None = None
    """Set if and only if the state is `ended` or `settling`. It is stored, since otherwise a crash
    could turn it into an answer."""

    order: int = 0
    """Its place among the user's turns; 0 until it has one."""

    replaces: str | None = None
    """The id under which the question was first asked, if this answer replaces an older one."""

    forgotten: bool = False
    """Its answer is not remembered as a turn."""

    edit: Edited | None = None
    """The newest edit. The reply in the journal may be older than the edit."""

    out_of_turn: bool = False
    """Whether it is settled at once, so that no later reply names its reply."""

    def begin(self) -> None:
        """Starts the question: its turn has come."""
        self.state = "calling" if self.ending is None else "settling"

    def end(self, outcome: Outcome) -> None:
        """Ends the question without an answer, and drops its edit."""
        self.ending = Ending(outcome, self.ending.text if self.ending is not None else "")
        self.state = "ended" if self.state in (*QUEUED, *ASKING_OTHERS) else "settling"
        self.forgotten = self.forgotten or outcome == "withdrawn"
        self.edit = None

    def withdraw_words(self) -> None:
        """Ends the question as withdrawn and keeps nothing that the person wrote."""
        self.end("withdrawn")
        self.ending = Ending("withdrawn")
        self.ask = self.ask.model_copy(
            update={"text": FORGOTTEN, "attachments": (), "quotes": (), "persona": None}
        )

    def is_meant_by(self, stop: Stop) -> bool:
        """Whether a stop ends this question."""
        if stop.prompt_id is not None:
            return self.ask.id == stop.prompt_id
        return same_thread(self.ask.place, stop.place)

    def leaves_a_turn(self, reply: Reply) -> bool:
        """Whether the question is remembered with this reply."""
        # Only the refusal of an unknown question has a text and comes in its turn. The text itself
        # may be that of another version.
        is_unknown = self.ending is not None and self.ending.text != "" and not self.out_of_turn
        return not (self.forgotten or is_unknown or reply.outcome == "withdrawn")

    def change_text(self, edit: Edited) -> None:
        """Asks the edited text instead. If the question has an ending, that comes first."""
        if self.ending is None:
            self.edit = edit
            self.ask = self.ask.model_copy(update={"text": edit.text})
            self.state, self.check_journal = "waiting", True
        elif self.ending.outcome != "withdrawn":
            self.edit = edit
