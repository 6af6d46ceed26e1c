"""Every exception of sonde, in one tree.

::

    SondeError
    ├── KernelError(OSError)       .errno .operation .subject .hint; message ends with a hint
    │   ├── NotSupportedError      .feature .provides
    │   ├── PermissionDeniedError  .capability
    │   └── VerifierError          .log .reason .source_line .instruction
    ├── UnsafeObjectError          .path .cause and what was found: .owner .mode .size_bytes .digest
    ├── LayoutError                a C record and the Python expectation of it differ
    ├── ProbeError
    │   ├── AttachError            .program .hook
    │   └── KnobError              .knob .valid
    ├── LoaderError                the process that loads has ended, or does not answer
    ├── ConfigError                .file .line .key .reason .problems
    └── CommandError               .status; command line only

Every message reads *what failed: why: what to do*. A missing map key is a plain KeyError.
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Sequence
from typing import Any

# Numbers with two names, where Python knows them by the one that the kernel does not use.
_ERRNO_KERNEL_NAMES = {35: "EDEADLK", 95: "EOPNOTSUPP"}

_ERRNO_KERNEL_ONLY = {
    # The kernel keeps these to itself (include/linux/errno.h), yet some reach user space through bpf().
    512: ("ERESTARTSYS", "interrupted, the call is restarted"),
    513: ("ERESTARTNOINTR", "interrupted, the call is restarted"),
    514: ("ERESTARTNOHAND", "interrupted, the call is restarted if no handler ran"),
    516: ("ERESTART_RESTARTBLOCK", "interrupted, restarted by restart_syscall"),
    517: ("EPROBE_DEFER", "the driver is not ready yet"),
    521: ("EBADHANDLE", "illegal file handle"),
    524: ("ENOTSUPP", "operation is not supported"),
    # libbpf's own (enum libbpf_errno in libbpf_legacy.h).
    4000: ("LIBBPF_ERRNO__LIBELF", "libelf failed"),
    4001: ("LIBBPF_ERRNO__FORMAT", "the BPF object's format is invalid"),
    4002: ("LIBBPF_ERRNO__KVERSION", "the object's kernel version is incorrect or missing"),
    4003: ("LIBBPF_ERRNO__ENDIAN", "the object was built for the other byte order"),
    4004: ("LIBBPF_ERRNO__INTERNAL", "internal error of libbpf"),
    4005: ("LIBBPF_ERRNO__RELOC", "relocation failed"),
    4006: ("LIBBPF_ERRNO__LOAD", "loading failed for an unknown reason"),
    4007: ("LIBBPF_ERRNO__VERIFY", "the kernel's verifier blocked the program"),
    4008: ("LIBBPF_ERRNO__PROG2BIG", "the program is too big"),
    4009: ("LIBBPF_ERRNO__KVER", "incorrect kernel version"),
    4010: ("LIBBPF_ERRNO__PROGTYPE", "the kernel does not support this program type"),
    4011: ("LIBBPF_ERRNO__WRNGPID", "wrong pid in a netlink message"),
    4012: ("LIBBPF_ERRNO__INVSEQ", "invalid netlink sequence"),
    4013: ("LIBBPF_ERRNO__NLPARSE", "netlink parsing failed"),
}


def errno_name(number: int) -> str:
    """Give the name of an error number of the C library, the kernel or libbpf: ``ENOENT``; the sign is ignored."""
    number = abs(number)
    if number in _ERRNO_KERNEL_ONLY:
        return _ERRNO_KERNEL_ONLY[number][0]
    return _ERRNO_KERNEL_NAMES.get(number) or _errno.errorcode.get(number, f"errno {number}")


def errno_text(number: int) -> str:
    """Say in words what an error number means, its name in brackets: ``no such file or directory (ENOENT)``."""
    number = abs(number)
    if number in _ERRNO_KERNEL_ONLY:
        name, text = _ERRNO_KERNEL_ONLY[number]
        return f"{text} ({name})"
    text = os.strerror(number)
    # "Invalid argument" reads on in a sentence, "RPC ..." keeps its capitals.
    if text[:2] != text[:2].upper():
        text = text[0].lower() + text[1:]
    return f"{text} ({errno_name(number)})"


class SondeError(Exception):
    """The root of everything sonde raises on purpose.

    ``what`` failed, ``why``, and in ``hint`` what to do; empty parts are left out of the message.
    """

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return ": ".join(part for part in (self.what, self.why, self.hint) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only constructors cannot be called again with ``args``, which is what pickle would do;
        # without this an error raised in a worker process breaks the whole pool.
        return restored, (type(self), self.args, self.__dict__)


def restored(cls: type[SondeError], args: tuple[Any, ...], state: dict[str, Any]) -> SondeError:
    """Make an error again from what ``__reduce__`` gave, in another process."""
    error = cls.__new__(cls)
    super(SondeError, error).__init__(*args)  # OSError's: it sets errno
    error.__dict__.update(state)
    return error


class KernelError(SondeError, OSError):
    """The kernel, or libbpf on its way there, refused an operation.

    ``operation`` on ``subject`` failed with ``errno``; ``why`` defaults to the meaning of the number.
    """

    def __init__(
        self, errno: int, *, operation: str, subject: str = "", why: str = "", hint: str = ""
    ) -> None:
        errno = abs(errno)
        what = f"{operation} {subject}".strip()
        super().__init__(what, why=why or errno_text(errno), hint=hint)
        OSError.__init__(self, errno, self.why)
        self.operation = operation
        self.subject = subject


class NotSupportedError(KernelError):
    """This kernel lacks ``feature``; ``provides`` says what would bring it: a version, a CONFIG option, a setting."""

    def __init__(
        self,
        feature: str,
        *,
        provides: str = "",
        errno: int = _errno.EOPNOTSUPP,
        operation: str = "use",
        subject: str = "",
        why: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(
            errno,
            operation=operation,
            subject=subject or feature,
            why=why or f"this kernel does not support {feature}",
            hint=hint or (f"it needs {provides}" if provides else ""),
        )
        self.feature = feature
        self.provides = provides


class PermissionDeniedError(KernelError):
    """The process lacks ``capability``, for example ``CAP_BPF`` or ``CAP_BPF, CAP_PERFMON``."""

    def __init__(
        self,
        errno: int = _errno.EPERM,
        *,
        operation: str,
        subject: str = "",
        capability: str = "",
        why: str = "",
        hint: str = "",
    ) -> None:
        if capability:
            why = why or f"{errno_text(errno)}, the process lacks {capability}"
            granted = " ".join(capability.replace(",", " ").split())
            hint = hint or f"run it with sudo, or as a systemd service with AmbientCapabilities={granted}"
        super().__init__(errno, operation=operation, subject=subject, why=why, hint=hint)
        self.capability = capability


class VerifierError(KernelError):
    """The kernel's verifier rejected a program.

    ``log`` is the log, of a very long one its end; ``reason`` its verdict, ``source_line`` the line of C at which it gave up and
    ``instruction`` the BPF instruction (each empty where the log does not tell). The message shows the last
    ``LINES_SHOWN`` lines of the log and says how many it left out.
    """

    LINES_SHOWN = 12

    def __init__(
        self,
        errno: int = _errno.EACCES,
        *,
        subject: str,
        operation: str = "load program",
        log: str = "",
        reason: str = "",
        source_line: str = "",
        instruction: str = "",
        hint: str = "",
    ) -> None:
        why = (
            f"the verifier rejected it: {reason}"
            if reason
            else f"the verifier rejected it: {errno_text(errno)}"
        )
        super().__init__(errno, operation=operation, subject=subject, why=why, hint=hint)
        self.log = log
        self.reason = reason
        self.source_line = source_line
        self.instruction = instruction

    def __str__(self) -> str:
        lines = [f"{self.what}: {self.why}"]
        if self.source_line:
            lines.append(f"  at: {self.source_line}")
        if self.instruction:
            lines.append(f"  instruction: {self.instruction}")
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        if log := self.log.rstrip():
            # The report that Linux 7.3 adds is in reason, source line and hint already: show what led to it.
            end = log.find("\n\nVerification failed: ")
            # From the end: a log can have a million lines.
            shown = log[: end if end >= 0 else None].rsplit("\n", self.LINES_SHOWN)[-self.LINES_SHOWN :]
            omitted = log.count("\n") + 1 - len(shown)
            lines.append(f"  verifier log ({omitted} lines omitted):" if omitted else "  verifier log:")
            lines += [f"    {line}" for line in shown]
        return "\n".join(lines)


class UnsafeObjectError(SondeError):
    """A file was refused before anything of it reached libbpf or the kernel.

    ``cause`` is one of ``owner``, ``mode``, ``size``, ``digest``, ``link``, ``kind`` (not a regular file),
    ``changed`` (while it was read), ``format`` (no sane ELF file) and ``instructions`` (a program is too long).
    ``owner``, ``mode``, ``size_bytes`` and ``digest`` are what was found, where that is known. The hint holds
    the exact command to run, where a command can help.
    """

    def __init__(
        self,
        path: str,
        *,
        cause: str,
        why: str,
        hint: str = "",
        owner: int | None = None,
        mode: int | None = None,
        size_bytes: int | None = None,
        digest: str | None = None,
    ) -> None:
        # A file name may hold anything, and a message is printed on terminals.
        super().__init__(f"load {path if path.isprintable() else repr(path)}", why=why, hint=hint)
        self.path = path
        self.cause = cause
        self.owner = owner
        self.mode = mode
        self.size_bytes = size_bytes
        self.digest = digest


class LayoutError(SondeError):
    """A record's layout in C, as BTF tells it, is not what the Python side expects or can express."""


class ProbeError(SondeError):
    """A probe cannot be built, configured or run."""


class AttachError(ProbeError):
    """A program could not be attached to any of the hooks it may live on."""

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", program: str = "", hook: str = ""
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.program = program
        self.hook = hook


class KnobError(ProbeError):
    """A knob does not exist or does not take this value; ``valid`` says what it takes."""

    def __init__(self, what: str, *, why: str = "", hint: str = "", knob: str = "", valid: str = "") -> None:
        super().__init__(what, why=why, hint=hint or (f"valid: {valid}" if valid else ""))
        self.knob = knob
        self.valid = valid


class LoaderError(SondeError):
    """The agent's loader, the process that has the privileges, has ended or does not answer."""


class ConfigError(SondeError):
    """A configuration ``file`` says something impossible at ``key``, in ``line`` (0: not known); ``reason`` says what.

    ``problems`` are all errors that were found, this one first: each is a line of its own for the reader.
    """

    def __init__(self, file: str, *, key: str = "", reason: str, hint: str = "", line: int = 0) -> None:
        # A file name may hold anything, and a message is printed on terminals.
        place = file if file.isprintable() else repr(file)
        place = f"{place}:{line}" if line else place
        super().__init__(f"{place}: {key}" if key else place, why=reason, hint=hint)
        self.file = file
        self.line = line
        self.key = key
        self.reason = reason
        self._others: tuple[ConfigError, ...] = ()

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        """Give all errors that were found, this one first."""
        return (self, *self._others)

    @classmethod
    def of(cls, problems: Sequence[ConfigError]) -> ConfigError:
        """Make one error of several, which is the first and knows the others."""
        first = problems[0]
        first._others = tuple(problems[1:])
        return first


class CommandError(SondeError):
    """A command ends here with one sentence on stderr and exit ``status``; raised by the command line only."""

    def __init__(self, what: str, *, why: str = "", hint: str = "", status: int = 1) -> None:
        super().__init__(what, why=why, hint=hint)
        self.status = status
