"""The one tree of errors: exit code, what happened, what to do next."""


class HarnessError(Exception):
    """An error that a user can act on.

    Args: `message` says what is wrong and where; `hint` says what to do next.
    """

    exit_code = 4

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message with the next step behind it."""
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class UsageError(HarnessError):
    """The command line, a settings file or a recipe is wrong."""

    exit_code = 2


class InfrastructureError(HarnessError):
    """Our own or the infrastructure's fault; says nothing about the model; may be tried again."""

    exit_code = 4


class RefusedByPolicy(HarnessError):
    """The evidence exists but the policy, the trust or the stage order refuses it."""

    exit_code = 5


class Unverifiable(HarnessError):
    """A stage could not go on, for a reason that is itself an outcome of the verification.

    `outcome` is the name of a `model.Outcome`; `reasons` lists each gap, source or file by name.
    """

    exit_code = 3
    outcome = "INCONCLUSIVE"

    def __init__(self, message: str, reasons: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.reasons = reasons or (message,)


class IncompleteLineage(Unverifiable):
    """Something that the replay needs was never recorded."""

    outcome = "INCOMPLETE_LINEAGE"


class SourceUnavailable(Unverifiable):
    """A commit, data object, package or base image is gone or no longer has its digest."""

    outcome = "SOURCE_UNAVAILABLE"


class Tampered(Unverifiable):
    """A registered artifact or its lineage no longer has its signed digest."""

    exit_code = 1
    outcome = "TAMPERED"


class RerunFailed(Unverifiable):
    """The training command failed, timed out, or made no output."""

    outcome = "RERUN_FAILED"


class Inconclusive(Unverifiable):
    """Nothing can be said about the model from what could be run or compared."""

    outcome = "INCONCLUSIVE"
