"""A virtual machine for one command: QEMU without KVM, the host's files over 9p, the command's output and status."""

from __future__ import annotations

import os
import re
import secrets
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vm import initramfs
from vm.emulator import Emulator
from vm.errors import BootError, GuestTimeoutError
from vm.kernel import Kernel

# Seconds until the command must have begun: 40 times what an idle machine takes, for beside the suite a guest has what is left.
BOOT_SECONDS_MAX = 300

# quiet … panic: less to do and to wait for.  cryptomgr.notests and init_on_alloc=0 save 2 s of boot.  tsc and
# no_timer_check: emulated timers fail the checks that real ones need, at random, on a loaded machine.  lsm: BPF's is
# built in everywhere but only listed in newer kernels.
APPEND = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests init_on_alloc=0 "
    "tsc=reliable no_timer_check nowatchdog lsm=lockdown,yama,bpf"
)

# Names of the environment that a command finds, whatever the host's are.
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Command:
    """What runs in the guest, as root: words, folder, environment, and one folder of the host that it may write to."""

    words: list[str]
    folder: Path = field(default_factory=Path.cwd)
    environment: dict[str, str] = field(default_factory=dict)
    output: Path | None = None

    def script(self) -> str:
        """The command as a shell script that replaces the shell."""
        values = {**ENVIRONMENT, **self.environment}
        assigned = [shlex.quote(f"{name}={value}") for name, value in values.items()]
        return f"exec env -i {' '.join(assigned)} {shlex.join(self.words)}\n"


@dataclass(frozen=True)
class Result:
    """A command's exit status, and the seconds from power-on to its first line and from there to its end."""

    status: int
    boot_s: float
    command_s: float


@dataclass(frozen=True)
class Machine:
    """How a guest is made; `run` starts a new one each time and leaves nothing behind."""

    kernel: Kernel
    emulator: Emulator
    cpus: int = 2
    memory: str = "1G"
    append: str = ""

    def run(self, command: Command, *, timeout_s: float, write: Callable[[bytes], object]) -> Result:
        """Run a command, hand its output to `write` as it comes, and return its exit status.

        Raises BootError where the guest does not come as far as the command or dies, GuestTimeoutError where the
        command takes longer than `timeout_s`.
        """
        mark = secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="sonde-vm-") as scratch:
            console = Path(scratch, "console")
            archive = Path(scratch, "initramfs")
            settings = self._settings(command, mark)
            archive.write_bytes(initramfs.build(self.kernel, settings=settings, command=command.script()))
            # timeout(1) ends QEMU even when we are killed and cannot.
            limit = ["timeout", "--signal=KILL", str(int(BOOT_SECONDS_MAX + timeout_s + 10))]
            qemu = subprocess.Popen(
                [*limit, *self._qemu(archive, console, command.output)],
                # Never written to; but at the end of its input QEMU would close the guest's port.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console.with_name("qemu").open("wb"),
                start_new_session=True,
            )
            try:
                return Conversation(qemu, mark, timeout_s=timeout_s, write=write).follow()
            except EOFError:
                said = tail(console.with_name("qemu"), console)
                raise BootError(f"Linux {self.kernel.release} ended by itself:\n{said}") from None
            except BootError as error:
                raise BootError(f"{error}\n{tail(console)}") from None
            finally:
                os.killpg(qemu.pid, signal.SIGKILL)
                qemu.wait()

    def _settings(self, command: Command, mark: str) -> str:
        values: dict[str, object] = {
            "mark": mark,
            "kernel": self.kernel.folder,
            "folder": command.folder.resolve(),
        }
        values["output"] = command.output.resolve() if command.output else ""
        return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())

    def _qemu(self, archive: Path, console: Path, output: Path | None) -> list[str]:
        """QEMU's command line: no KVM, no network card, no disk."""
        words = [*self.emulator.words, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        # One host thread for all of the guest's processors: with one each they spin, waiting for locks whose holder has
        # no processor of the host, and a run costs 30 % more.
        words += ["-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max"]
        words += ["-smp", str(self.cpus), "-m", self.memory]
        words += ["-kernel", str(self.kernel.image), "-initrd", str(archive)]
        words += ["-append", f"{APPEND} {self.append}".strip()]
        words += ["-serial", f"file:{console}"]
        words += ["-chardev", "stdio,id=port,signal=off", "-device", "virtio-serial-pci,max_ports=2"]
        words += ["-device", "virtserialport,chardev=port,nr=1"]
        words += shared("root", Path("/"), "readonly=on,multidevs=remap")
        return words + (shared("output", output.resolve(), "multidevs=remap") if output else [])


class Conversation:
    """What a guest says through its port, up to the line with the exit status."""

    def __init__(
        self, qemu: subprocess.Popen[bytes], mark: str, *, timeout_s: float, write: Callable[[bytes], object]
    ) -> None:
        assert qemu.stdout is not None
        self._port = qemu.stdout.fileno()
        self._start = f"[{mark} start]\n".encode()
        self._exit = re.compile(rb"\[%s exit (\d+)\]\n" % mark.encode())
        self._mark = f"[{mark}".encode()
        self._timeout_s = timeout_s
        self._write = write

    def follow(self) -> Result:
        """Read to the end.  Raises BootError, GuestTimeoutError; EOFError where QEMU ends before the guest has."""
        power_on = time.monotonic()
        held = b""
        never = BootError(f"no command after {BOOT_SECONDS_MAX} s of boot:")
        while self._start not in held:
            held += self._read(power_on + BOOT_SECONDS_MAX, never)
        begun = time.monotonic()
        held = held.partition(self._start)[2]
        late = GuestTimeoutError(
            f"command stopped: not done in {self._timeout_s:g} s: give a longer --timeout"
        )
        while not (found := self._exit.search(held)):
            held = self._pass_on(held)
            held += self._read(begun + self._timeout_s, late)
        self._write(held[: found.start()])
        return Result(status=int(found[1]), boot_s=begun - power_on, command_s=time.monotonic() - begun)

    def _pass_on(self, held: bytes) -> bytes:
        """Hand out all but what may be the beginning of the last line; returns that."""
        start = held.find(self._mark)
        if start < 0:
            sizes = range(min(len(self._mark), len(held)), 0, -1)
            start = len(held) - next((size for size in sizes if self._mark.startswith(held[-size:])), 0)
        if start:
            self._write(held[:start])
        return held[start:]

    def _read(self, deadline: float, late: Exception) -> bytes:
        ready, _, _ = select.select([self._port], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise late
        data = os.read(self._port, 1 << 16)
        if not data:
            raise EOFError
        return data


def shared(name: str, folder: Path, options: str) -> list[str]:
    """A folder of the host for the guest, with the host's owners and modes."""
    backend = f"local,id={name},path={folder},security_model=none,{options}"
    return ["-fsdev", backend, "-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]


def tail(*files: Path, lines: int = 60) -> str:
    """The last lines of what QEMU and the console wrote."""
    text = "".join(path.read_text(errors="replace") for path in files)
    kept = text.replace("\r", "").strip().splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in kept) or "  | (the console stayed empty)"
