"""Every error a user of this package can meet.

    LinmemError
      ConfigError          wrong set-up: an unknown reader, a foreign folder, another embedding
        NamespaceError     whose memory it is cannot be told, or is not a valid namespace
        RecordError        a value that cannot be remembered as it is
      ReaderUnavailable    the reader's index or server cannot be reached; the log is unharmed
      ContextOverflow      a record is larger than the reader's model can read
      UnsafeFile           a file that was refused unopened

Each message names the bad value, what is valid and the fix.
"""


class LinmemError(Exception):
    """Base of all errors of this package."""


class ConfigError(LinmemError, ValueError):
    """The set-up is wrong; nothing was read or written."""


class NamespaceError(ConfigError):
    """A namespace is invalid, or a field of its template has no value."""


class RecordError(ConfigError):
    """A value given as a record cannot be remembered; nothing was written."""


class ReaderUnavailable(LinmemError):
    """A reader's index or model server cannot be reached. The log still has every record."""


class ContextOverflow(LinmemError):
    """A single record is larger than the context of the reader's model."""


class UnsafeFile(LinmemError):
    """A file was refused because opening it could run code or exhaust memory."""
