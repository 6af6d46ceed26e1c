"""What can go wrong around a virtual machine.

VmError
├── HostError           this machine lacks a program, a right or an archive
├── BootError           the guest never came as far as the command, or died under it
└── GuestTimeoutError   the command's time was over
"""


class VmError(Exception):
    """A virtual machine could not do what was asked: the message says what, why and what to do."""


class HostError(VmError):
    """This machine lacks a program, a right or an archive."""


class BootError(VmError):
    """The guest never came as far as the command, or died under it; the message ends with its console."""


class GuestTimeoutError(VmError):
    """The command's time was over."""
