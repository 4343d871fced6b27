"""The errors of tocsin and the exit codes they end a command with.

    TocsinError          1  a job or a request failed
    ├── SettingsError    2  the settings or the command line are wrong
    ├── InputError       3  an input file or record cannot be used
    ├── StoreError       4  the object store cannot be used
    │   ├── NotFoundError   there is no such object
    │   └── ConflictError   a conditional put lost: somebody else wrote first
    ├── LedgerError      5  the database cannot be used
    ├── ModelError       6  there is no usable model, or its state cannot be restored
    └── SinkError        7  findings could not be delivered

A message names the key, file or line, the value, and what is allowed or to be done.
Vendor exceptions stop at the edge of their room: ``raise StoreError(...) from error``.
"""


class TocsinError(Exception):
    """Anything that tocsin reports in one line instead of a traceback."""

    exit_code = 1


class SettingsError(TocsinError):
    """A setting or a command-line argument is wrong."""

    exit_code = 2


class InputError(TocsinError):
    """An input file or record cannot be used."""

    exit_code = 3


class StoreError(TocsinError):
    """The object store cannot be used."""

    exit_code = 4


class NotFoundError(StoreError):
    """There is no object at this path."""


class ConflictError(StoreError):
    """A conditional put lost: the object exists already, or has changed since it was read."""


class LedgerError(TocsinError):
    """The ledger's database cannot be used."""

    exit_code = 5


class ModelError(TocsinError):
    """There is no usable model, or a model's state cannot be restored."""

    exit_code = 6


class SinkError(TocsinError):
    """Findings could not be delivered."""

    exit_code = 7
