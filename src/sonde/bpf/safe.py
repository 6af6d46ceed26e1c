"""Reads BPF objects from files that only trusted hands can have written.

A loaded object runs in the kernel, so whoever can write the file decides what runs there. Every check is made on the
open descriptor and the bytes come from that same descriptor: between check and load there is no second look at the
path that could find something else. Directories above the file need no check for that reason: who may rename
there can only put another file of a trusted owner in its place. A hard link changes nothing either: owner and mode
belong to the file, not to its name. (What cannot be seen is a file system that lies about owners, such as FUSE
mounted with ``allow_other``.)
"""

from __future__ import annotations

import errno
import importlib
import os
import shlex
import stat
from collections.abc import Mapping

from sonde._libbpf import ffi, lib
from sonde.errors import KernelError, UnsafeObjectError

OBJECT_SIZE_MAX_BYTES = 64 << 20
"""Far above any real object: one million instructions are 8 MB, and debugging information is read too."""

INSTRUCTIONS_MAX = 1_000_000
"""The verifier's own bound on a program (BPF_COMPLEXITY_LIMIT_INSNS since kernel commit c04c0d2b968a, 5.2)."""

PACKAGE_DIRECTORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read_object(
    path: str | os.PathLike[str],
    *,
    strict: bool = False,
    sha256: str | bytes | None = None,
    size_max_bytes: int = OBJECT_SIZE_MAX_BYTES,
) -> bytes:
    """Read a BPF object of the user's, provided that only root or this user can have written it.

    The file must be a regular one and no symbolic link, owned by root or the effective user, and not writable by
    group or others; ``strict`` allows group and others nothing at all (mode & 0o077 == 0). ``sha256`` pins the content
    (64 hexadecimal digits or 32 bytes) and replaces the check of the owner; the mode is checked all the same, for
    a pinned file that others can write is one that stops loading whenever they like.

    Raises UnsafeObjectError, with the exact command that mends it, and KernelError if it cannot be opened at all.
    """
    name = os.fsdecode(os.fspath(path))
    pin = None if sha256 is None else _parse_digest(name, sha256)
    fd = _open(name, follow=False)
    try:
        before = os.fstat(fd)
        _check_kind(name, before)
        _check_access(name, before, strict=strict, pinned=pin is not None)
        data = _read(name, fd, before, size_max_bytes)
    finally:
        os.close(fd)
    if pin is not None:
        check_digest(data, pin, path=name)
    return data


def read_packaged(path: str | os.PathLike[str]) -> bytes:
    """Read a BPF object of sonde's own, provided that it is bit for bit the one this sonde was built with.

    ``path`` is absolute or relative to the package. Its SHA-256 must equal the digest compiled into the extension, which
    makes owner, mode and symbolic links irrelevant: the virtual environment may belong to another user with umask
    002, or be a tree of links into a package cache. Raises UnsafeObjectError and KernelError.
    """
    name = os.path.join(PACKAGE_DIRECTORY, os.fsdecode(os.fspath(path)))
    relative = os.path.relpath(name, PACKAGE_DIRECTORY)
    expected = lib.sonde_packaged_digest(relative.encode())
    if expected == ffi.NULL:
        raise UnsafeObjectError(
            name,
            cause="digest",
            why="this sonde was built without such an object, so there is no digest to verify it by",
            hint="reinstall sonde (in a source tree: make build), or load it as an object of yours",
        )
    fd = _open(name, follow=True)
    try:
        found = os.fstat(fd)
        _check_kind(name, found)
        data = _read(name, fd, found, OBJECT_SIZE_MAX_BYTES)
    finally:
        os.close(fd)
    digest = sha256_of(data)
    if digest != bytes(ffi.buffer(expected, 32)):
        raise UnsafeObjectError(
            name,
            cause="digest",
            why="its SHA-256 is not the one compiled into sonde's extension: the file was changed after the build",
            hint="reinstall sonde (in a source tree: make build)",
            digest=digest.hex(),
        )
    return data


def sha256_of(data: bytes) -> bytes:
    """Give the digest, by Python's own SHA-256: hashlib loads OpenSSL, which is 4 MB more in each of our processes."""
    for name in (
        "_sha2",
        "_sha256",
        "hashlib",
    ):  # since Python 3.12, up to 3.11, and wherever neither was built
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        digest: bytes = module.sha256(data).digest()
        return digest
    raise AssertionError("hashlib is always there")


def check_digest(data: bytes, sha256: str | bytes, *, path: str) -> None:
    """Raise UnsafeObjectError unless ``data`` has this SHA-256; ``path`` is what the message calls it."""
    expected = _parse_digest(path, sha256)
    digest = sha256_of(data)
    if digest != expected:
        raise UnsafeObjectError(
            path,
            cause="digest",
            why=f"its SHA-256 is {digest.hex()}, pinned is {expected.hex()}",
            hint="restore the pinned file, or review the new one and pin its digest",
            digest=digest.hex(),
        )


def check_instruction_counts(counts: Mapping[str, int], *, path: str) -> None:
    """Raise UnsafeObjectError if a program (name → instructions) is longer than any kernel accepts."""
    for program, count in counts.items():
        if count > INSTRUCTIONS_MAX:
            raise UnsafeObjectError(
                path,
                cause="instructions",
                why=f"program {program} has {count:,} instructions, the bound is {INSTRUCTIONS_MAX:,}",
                hint="split it: tail calls, global functions, or a program per hook",
            )


def _open(path: str, *, follow: bool) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for a writer; it does nothing to the regular files that we accept.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except ValueError as error:  # a NUL in the path
        raise KernelError(errno.EINVAL, operation="open", subject=repr(path), why=str(error)) from error
    except OSError as error:
        # ELOOP is also said of directories that link in a circle; then the directory cannot be entered either.
        if error.errno == errno.ELOOP and not follow and os.path.exists(os.path.dirname(path) or "."):
            raise _refuse_link(path) from error
        hint = {
            errno.ENOENT: "check the spelling; relative paths start at the current directory",
            errno.EACCES: "run it as a user who may read the file, or with sudo",
            errno.ENXIO: "name a regular file",
        }.get(error.errno or 0, "")
        raise KernelError(
            error.errno or errno.EIO, operation="open", subject=_quote(path), hint=hint
        ) from error


def _refuse_link(path: str) -> UnsafeObjectError:
    try:
        target = os.path.realpath(path)
    except OSError:  # turned again, to a file this time
        target = ""
    if os.path.isfile(target):
        hint = f"name the file itself: {_quote(target)}"
    else:
        hint = "name a regular file, or pass the object's bytes"
    return UnsafeObjectError(
        path,
        cause="link",
        why="it is a symbolic link, which can be turned to another file at any time",
        hint=hint,
    )


def _check_kind(path: str, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "something else")
    raise UnsafeObjectError(
        path,
        cause="kind",
        why=f"it is {kind}, not a regular file",
        hint="name the .bpf.o file itself, or pass the object's bytes",
        mode=stat.S_IMODE(found.st_mode),
    )


def _check_access(path: str, found: os.stat_result, *, strict: bool, pinned: bool) -> None:
    mode = stat.S_IMODE(found.st_mode)
    # An access control list that lets anyone else write shows in the group bits, which then hold its mask.
    forbidden = 0o077 if strict else 0o022
    user = os.geteuid()
    owner_wrong = not pinned and found.st_uid not in (0, user)
    mode_wrong = bool(mode & forbidden)
    if not owner_wrong and not mode_wrong:
        return
    reasons, commands = [], []
    if owner_wrong:
        reasons.append(
            f"it is owned by {_user_name(found.st_uid)}, not by {' or '.join(_trusted_names(user))}"
        )
        commands.append(f"chown {_user_name(user)} -- {_quote(_absolute(path))}")
    if mode_wrong:
        what = "open to group or others" if strict else "writable by group or others"
        reasons.append(f"it is {what} (mode {mode:04o})")
        commands.append(f"chmod {'go=' if strict else 'go-w'} -- {_quote(_absolute(path))}")
    # A foreign file is chowned, and one of root's is changed, by root only.
    sudo = "sudo " if user != 0 and (owner_wrong or found.st_uid != user) else ""
    raise UnsafeObjectError(
        path,
        cause="owner" if owner_wrong else "mode",
        why=" and ".join(reasons) + ", so others can decide what runs in the kernel",
        hint="if you trust its content, run: " + " && ".join(sudo + command for command in commands),
        owner=found.st_uid,
        mode=mode,
        size_bytes=found.st_size,
    )


def _read(path: str, fd: int, before: os.stat_result, size_max_bytes: int) -> bytes:
    if before.st_size > size_max_bytes:
        raise UnsafeObjectError(
            path,
            cause="size",
            why=f"it has {before.st_size:,} bytes, the bound is {size_max_bytes:,}",
            hint="strip its debugging information (bpftool gen object, or llvm-strip -g, keeps BTF)",
            size_bytes=before.st_size,
        )
    chunks = []
    # One byte more than the file had: a file that grows while we read is noticed, and never read without bound.
    left = before.st_size + 1
    while left > 0:
        try:
            chunk = os.read(fd, min(left, 1 << 20))
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, operation="read", subject=_quote(path)) from error
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    data = b"".join(chunks)
    after = os.fstat(fd)
    if len(data) != before.st_size or _identity(before) != _identity(after):
        raise UnsafeObjectError(
            path,
            cause="changed",
            why="it changed while it was being read",
            hint="try again when whoever writes it has finished",
            owner=after.st_uid,
            mode=stat.S_IMODE(after.st_mode),
            size_bytes=after.st_size,
        )
    return data


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_uid, found.st_mode)


def _parse_digest(path: str, sha256: str | bytes) -> bytes:
    if isinstance(sha256, bytes) and len(sha256) == 32:
        return sha256
    try:
        digest = bytes.fromhex(sha256 if isinstance(sha256, str) else sha256.decode("ascii"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise UnsafeObjectError(
            path,
            cause="digest",
            why=f"the pin {sha256!r} is no SHA-256",
            hint=f"give 64 hexadecimal digits, as sha256sum {_quote(path)} prints them",
        )
    return digest


def _trusted_names(user: int) -> list[str]:
    return [_user_name(0)] if user == 0 else [_user_name(0), _user_name(user)]


def _user_name(user: int) -> str:
    import pwd  # only here: Unix has it, and only refusals need it

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _absolute(path: str) -> str:
    # Not normalised: "a/../b" is not "b" where a is a link.
    return os.path.join(os.getcwd(), path)


def _quote(path: str) -> str:
    """Quote a path for a shell, so that even a name with escape sequences in it can be printed and pasted."""
    if path.isprintable():
        return shlex.quote(path)
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(path)
    )
    return f"$'{escaped}'"
