"""The base classes of all errors of reeldex, by who can mend them. Imports nothing, and every package may import it."""


class ReeldexError(Exception):
    """Base of every error of reeldex; the message says what happened, to which input, why, and what to do next."""


class UserError(ReeldexError):
    """Something has to be changed before trying again makes sense. The message says what."""


class UsageError(UserError):
    """The command, the configuration or the input cannot be used as given. The message says what to change."""


class InfrastructureError(ReeldexError):
    """The machine failed the work: a process died, memory or a device was lost. Trying again may help."""


class DeviceError(UserError):
    """The requested device, or what is to be computed on it, is not available on this machine."""
