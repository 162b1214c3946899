"""The errors that a user can fix: one line that names the thing, what is wrong, and how to fix it."""

import errno


class UserError(Exception):
    """Something outside the program is wrong; the message alone must be enough to put it right.

    Commands print it without a traceback and exit with 1.
    """


class UsageError(UserError):
    """The command line is wrong: an unknown option, a missing one, or a value out of range. Commands exit with 2."""


class MachineError(UserError):
    """The machine cannot do what is asked, whichever file it is asked for: work on many files ends with it."""


class ShortageError(MachineError):
    """The process may open no more files: no fault of the one that it was about to open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: this process may not open any more files; raise the limit (ulimit -n 1024), and run again"
        )
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str]]:  # so that it survives the way back from a worker
        return type(self), (self.path,)


def is_shortage(error: BaseException) -> bool:
    """Whether an error of the system comes from how much is open already."""
    return getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)


class UnreadableVideoError(UserError):
    """A video that cannot be opened or does not give the frames it claims to have.

    `advice` is what the command that reads it offers beside `remedy`: "or …".
    """

    def __init__(self, path: str, reason: str, advice: str = "", remedy: str = "replace it") -> None:
        super().__init__(f"{path}: cannot be read as a video ({reason}); {remedy}{advice and ', '}{advice}")
        self.path = path
        self.reason = reason
        self.advice = advice
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[str, ...]]:  # so that it survives the way back from a worker
        return type(self), (self.path, self.reason, self.advice, self.remedy)
