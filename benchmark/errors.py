"""The one exception that reaches the user as a plain line, without a traceback."""


class UserError(Exception):
    """Something the user gave cannot be used: one line that names the file or option and the way out.

    ``exit_code`` is what the command ends with: 1 the work found a problem or was stopped, 2 wrong usage.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]
