"""The one error of the hooks: nothing was scanned, or not all, so nothing may pass."""


class ScanError(Exception):
    """What could not be scanned and why, and what to do: two texts without a secret."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint
