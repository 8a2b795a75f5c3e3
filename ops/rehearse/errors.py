"""How a rehearsal can end early."""


class WrongUsage(Exception):
    """A person has to change the command line."""


class NothingToDo(Exception):
    """There is nothing that can be asked again."""


class CapReached(Exception):
    """The limit of money or time does not allow another call."""


class Unusable(Exception):
    """The endpoint cannot be asked: a person has to correct something first."""
