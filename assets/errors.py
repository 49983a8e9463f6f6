"""The two ways in which input can be wrong: the user's request, or one object among many."""


class UserError(Exception):
    """The request cannot be done; the message is one line that names the file or option and the way out.

    `exit_code` is 1 when the work met a problem, 2 when the command was used wrongly.
    """

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


class BadObject(Exception):  # noqa: N818 (it is the object that is at fault)
    """One object cannot be used, for the reason in the message: quarantine it, the run goes on."""
