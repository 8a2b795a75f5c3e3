"""Why a training, or the use of an adapter, does not go on; each text says what to do."""


class BadInput(Exception):
    """The data, the base model or the request cannot be used: change it."""


class UnknownAdapter(Exception):
    """There is no adapter of this name: choose one that the text lists."""


class NotInstalled(Exception):
    """The optional extra is missing: install it."""


class JobFailed(Exception):
    """OpenAI refused or ended the job: do what the text says."""


class Interrupted(Exception):
    """A person stopped the training: the same command continues it."""
