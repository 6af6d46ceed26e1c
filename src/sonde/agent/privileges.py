"""What a process may do, and giving it up: capabilities, the user, new privileges, inherited descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sonde._libbpf import lib
from sonde._libbpf.check import check
from sonde.bpf.capabilities import IN_SYS_ADMIN, number_of
from sonde.errors import PermissionDeniedError, SondeError

SETS = {
    "CapEff": "effective",
    "CapPrm": "permitted",
    "CapInh": "inheritable",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}
"""The kernel's names in /proc/PID/status → ours."""


@dataclass(frozen=True, slots=True)
class Privileges:
    """What /proc says that a thread may do: capability sets as bit masks, its user and group, and no_new_privs."""

    effective: int
    permitted: int
    inheritable: int
    bounding: int
    ambient: int
    user: int
    group: int
    no_new_privileges: bool

    @classmethod
    def of(cls, path: str = "/proc/thread-self/status") -> Privileges:
        """Read a status file of /proc."""
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        masks = {ours: int(fields[theirs], 16) for theirs, ours in SETS.items()}
        return cls(
            **masks,
            user=int(fields["Uid"].split()[1]),
            group=int(fields["Gid"].split()[1]),
            no_new_privileges=fields["NoNewPrivs"] == "1",
        )

    @classmethod
    def of_threads(cls) -> tuple[Privileges, ...]:
        """Read those of every thread of this process: capabilities are each thread's own."""
        return tuple(cls.of(f"/proc/self/task/{thread}/status") for thread in os.listdir("/proc/self/task"))


@dataclass(frozen=True, slots=True)
class Dropped:
    """What is left after ``drop_privileges``, as the kernel says; ``notes`` are sentences about what could not go."""

    privileges: Privileges
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        kept = f"keeps {', '.join(self.kept)}" if self.kept else "keeps no capability"
        user = f"runs as user {_user_name(self.privileges.user)}"
        return "; ".join((f"{user}, {kept}", *self.notes))


def mask(names: Iterable[str]) -> int:
    """Give the bit mask of capabilities; raises KeyError for a name that is none."""
    bits = 0
    for name in names:
        bits |= 1 << number_of(name)
    return bits


def drop_privileges(
    *,
    trial: Callable[[], object] | None = None,
    user: str | None = None,
    keep_descriptors: Collection[int] = (),
) -> Dropped:
    """Give up every capability, the chance of new ones, and inherited descriptors; for ever.

    ``trial`` reads a map: where the kernel refuses that to a process without CAP_BPF, and only there, CAP_BPF is kept.
    ``user`` becomes the process's where it is root's now. Descriptors that a parent has left open are closed, but for
    0 to 2 and ``keep_descriptors``. Raises SondeError when other threads run already, for capabilities are each
    thread's own (NumPy starts some), and when what /proc says afterwards is not what was asked for.
    """
    _require_one_thread()
    notes: list[str] = []
    spare = mask(("CAP_BPF",)) & Privileges.of().permitted if trial is not None else 0
    _give_up(permitted=spare, effective=0, user=user, notes=notes)
    if trial is not None:
        try:
            trial()
            spare = 0
        except PermissionDeniedError:
            if not spare:
                raise
            notes.append(
                "the kernel lets no process without CAP_BPF read maps (kernel.unprivileged_bpf_disabled)"
            )
    check(lib.sonde_set_capabilities(spare, spare, 0), "give up capabilities")
    close_inherited(keep_descriptors)
    kept = ("CAP_BPF",) if spare else ()
    return Dropped(_proven(permitted=spare, effective=spare), kept, tuple(notes))


def narrow_privileges(
    *, effective: Iterable[str], on_request: Iterable[str] = (), user: str | None = None
) -> Dropped:
    """Keep these capabilities alone; those ``on_request`` count only inside ``raised``. For ever.

    What the process lacks already it cannot keep: see the result. Where it lacks CAP_BPF or CAP_PERFMON and has
    CAP_SYS_ADMIN, as in containers made before Linux 5.8, that one is kept for them. Raises SondeError as
    ``drop_privileges`` does.
    """
    _require_one_thread()
    notes: list[str] = []
    here = Privileges.of().permitted
    asked, spare = _available(tuple(effective), here, notes), tuple(on_request)
    permitted = mask((*asked, *spare)) & here
    _give_up(permitted=permitted, effective=mask(asked) & here, user=user, notes=notes)
    kept = tuple(dict.fromkeys(name for name in (*asked, *spare) if mask((name,)) & here))
    return Dropped(_proven(permitted=permitted, effective=mask(asked) & here), kept, tuple(notes))


@contextmanager
def raised(name: str) -> Iterator[None]:
    """Let a permitted capability count inside the block; PermissionDeniedError where it is not permitted."""
    now = Privileges.of()
    more = now.effective | mask((name,))
    if more & ~now.permitted:
        raise PermissionDeniedError(operation=f"use {name}", capability=name)
    check(lib.sonde_set_capabilities(more, now.permitted, 0), "raise capability", name)
    try:
        yield
    finally:
        check(lib.sonde_set_capabilities(now.effective, now.permitted, 0), "lower capability", name)


def close_inherited(keep: Collection[int] = ()) -> None:
    """Close descriptors that were left open over exec; Python's own are not, they are closed at exec."""
    for fd in (int(name) for name in os.listdir("/proc/self/fd")):
        if fd <= 2 or fd in keep:
            continue
        try:
            if not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(fd)
        except OSError:  # the listing's own, closed meanwhile
            continue


def _require_one_thread() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise SondeError(
            "give up privileges",
            why=f"{threads} threads run, and each has capabilities of its own",
            hint="do it before threads are started and before NumPy is imported",
        )


def _give_up(*, permitted: int, effective: int, user: str | None, notes: list[str]) -> None:
    check(lib.sonde_set_no_new_privileges(), "set no_new_privs")
    result = lib.sonde_keep_bounding(0)
    if result == -errno.EPERM:
        # With no_new_privs the bounding set gives nothing to anybody; a service's user was not meant to reduce it.
        if os.geteuid() == 0:
            notes.append("the bounding set stays: CAP_SETPCAP is needed to reduce it")
    else:
        check(result, "reduce the bounding set")
    if user is not None and os.geteuid() == 0:
        _become(user, notes)
    check(lib.sonde_clear_ambient(), "clear the ambient set")
    check(lib.sonde_set_capabilities(effective, permitted, 0), "give up capabilities")


def _available(asked: tuple[str, ...], here: int, notes: list[str]) -> tuple[str, ...]:
    lacking = [name for name in asked if name in IN_SYS_ADMIN and not mask((name,)) & here]
    if not lacking or not mask(("CAP_SYS_ADMIN",)) & here:
        return asked
    notes.append(f"CAP_SYS_ADMIN is kept for want of {', '.join(lacking)}: grant those in its place")
    return (*(name for name in asked if name not in lacking), "CAP_SYS_ADMIN")


def _become(name: str, notes: list[str]) -> None:
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise SondeError(
            f"run as user {name}", why="there is no such user", hint="useradd --system"
        ) from None
    if (hidden := _hidden_from(account.pw_uid, account.pw_gid)) is not None:
        notes.append(f"user {name} cannot read {hidden}, so it stays root, without capabilities")
        return
    check(lib.sonde_keep_capabilities_over_setuid(True), "keep capabilities")
    try:
        os.setgroups([])
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except PermissionError:
        notes.append(
            "it stays root, without capabilities: to change the user CAP_SETUID and CAP_SETGID are needed"
        )
    check(lib.sonde_keep_capabilities_over_setuid(False), "keep no capabilities")


def _hidden_from(user: int, group: int) -> str | None:
    """Find what Python will still import and this user cannot read: a package below /root, say. Found by trying."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    groups = os.getgroups()
    try:
        try:
            os.setgroups([])
            os.setegid(group)
            os.seteuid(user)
        except PermissionError:
            return None
        for place in (package, *filter(os.path.isabs, sys.path)):
            try:
                os.stat(place)
                if os.path.isdir(place):
                    os.listdir(place)
            except FileNotFoundError:
                continue
            except PermissionError:
                return _closed_directory(place)
        return None
    finally:
        os.seteuid(0)
        os.setegid(0)
        # Who may not set groups has changed none.
        with suppress(PermissionError):
            os.setgroups(groups)


def _closed_directory(place: str) -> str:
    """Give the first directory on the way to a place that this user may not search, or else the place."""
    way = "/"
    for name in place.split("/"):
        way = os.path.join(way, name)
        try:
            os.stat(os.path.join(way, "."))
        except NotADirectoryError:
            break
        except PermissionError:
            return way
    return place


def _proven(*, permitted: int, effective: int) -> Privileges:
    """Read what the kernel says now, of all threads; SondeError where it is not what was asked for."""
    for found in Privileges.of_threads():
        wanted = (found.effective, found.permitted, found.inheritable, found.ambient, found.no_new_privileges)
        if wanted != (effective, permitted, 0, 0, True):
            raise SondeError("give up privileges", why=f"the kernel says that they are still there: {found}")
    return Privileges.of()


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
