"""The one exception tree. Each class fixes an exit code; each instance carries the next step to take.

    StackctlError
    |-- ProblemFound (1)              the tool works, what it looked at does not
    |   |-- NotFound                  a trace, a board, a component that is not there
    |   |-- ComponentUnhealthy        a component died or does not answer
    |   `-- NotConverged              what was sent could not be read back, or reads differently
    |-- Misuse (2)                    the command or its settings are wrong
    |   |-- SettingsInvalid           stackctl.toml, an environment variable, a flag value
    |   |-- QueryInvalid              a PromQL or TraceQL text that does not parse (has a position)
    |   `-- QueryUnsupported          understood and not built: refused by name, never answered empty
    |-- EnvironmentLacks (3)          something the machine must provide
    |   |-- StackNotRunning
    |   |-- PortTaken
    |   |-- EngineAbsent              no Docker engine
    |   |-- PackageMissing
    |   `-- StoreUnusable             data directory locked, newer format, disk full
    `-- UpstreamFailed (1)            a query endpoint answered with an error or not at all

Only `stackctl.cli.app` prints these. Servers map them to HTTP status codes where they answer.
"""


class StackctlError(Exception):
    """Base of every error that a user is meant to read.

    Args:
        message: one sentence, what is wrong, with the offending value.
        next_step: one sentence or command, what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class ProblemFound(StackctlError):
    """A check failed: the tool worked, what it looked at is not right."""

    exit_code = 1


class NotFound(ProblemFound):
    """The named thing does not exist."""


class ComponentUnhealthy(ProblemFound):
    """A component of the stack died or does not answer."""


class NotConverged(ProblemFound):
    """What was sent cannot be read back in time, or reads differently."""


class UpstreamFailed(ProblemFound):
    """A query endpoint answered with an error, or did not answer."""


class Misuse(StackctlError):
    """The command, a flag or a setting is wrong."""

    exit_code = 2


class SettingsInvalid(Misuse):
    """A setting has a value that cannot be used."""


class QueryInvalid(Misuse):
    """A query text does not parse.

    Args:
        position: offset in characters from the start of the query, where known.
    """

    def __init__(self, message: str, *, next_step: str, position: int | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.position = position


class QueryUnsupported(Misuse):
    """A query is valid, but uses what this engine does not have. The message names it."""


class EnvironmentLacks(StackctlError):
    """The machine does not provide what the command needs."""

    exit_code = 3


class StackNotRunning(EnvironmentLacks):
    """No stack was found in the data directory, or it does not answer."""


class PortTaken(EnvironmentLacks):
    """Another program listens where a component must."""


class EngineAbsent(EnvironmentLacks):
    """No Docker engine answers."""


class PackageMissing(EnvironmentLacks):
    """A Python package is not installed in the environment that needs it."""


class StoreUnusable(EnvironmentLacks):
    """The data directory is locked, of a newer format, or the disk refuses writes."""
