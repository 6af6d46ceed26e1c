"""One of Debian's kernels, fetched once, unpacked and cached: its image, its configuration and the modules we need."""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vm.archive import Suite
from vm.errors import HostError
from vm.host import alone, busybox, cache
from vm.modules import ModuleTree

# Where each kernel comes from.  A stable release's security suite has its newest kernel and a small index; these are
# the generic kernels, for Debian's cloud kernels have no 9p.
SUITES = {"5.10": "bullseye-security", "6.1": "bookworm-security", "6.12": "trixie-security", "7": "sid"}

# No kernel to test on, but the last for which Debian 12's SystemTap compiles: task_work_cancel() has another type since
# 5.10.224 and 6.1.103. The comparison runs it.
ELSEWHERE = {"5.10.0": "bullseye"}

# What the guest needs to find its root, loaded by its init, in this order.
BOOT_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")

# What tests ask the kernel for; it loads them on demand, as on an installed system.
NETWORK = (
    "veth",
    "dummy",
    "ifb",
    "tun",
    "bridge",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "cls_matchall",
    "tcp_diag",
)
GUEST_MODULES = (*NETWORK, "loop", "brd", "ext4")


@dataclass(frozen=True)
class Kernel:
    """A kernel that QEMU can boot.  Nothing to close; the files stay in the cache."""

    version: str
    release: str
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    def boot_modules(self) -> list[Path]:
        """The modules that init loads, in the order of loading."""
        return [self.modules / line for line in (self.folder / "boot_modules").read_text().splitlines()]


def find(version: str, *, refresh: bool = False) -> Kernel:
    """The cached kernel of a version such as `6.1`, fetched when it is not there; `refresh` fetches it anew.

    Raises HostError: unknown version, no network, no Debian archive.
    """
    if version not in SUITES | ELSEWHERE:
        raise HostError(f"no kernel {version!r}: only these are known: {', '.join(SUITES)}")
    folder = cache() / "kernels" / version
    with alone(cache() / f"{version}.lock"):
        if refresh or not (folder / "release").exists():
            fetch(version, folder)
    return Kernel(version=version, release=(folder / "release").read_text().strip(), folder=folder)


def suite_of(version: str) -> str:
    """The suite of Debian that a kernel comes from."""
    return (SUITES | ELSEWHERE)[version]


def fetch(version: str, folder: Path) -> None:
    """Download and unpack a kernel beside its folder, then put it in place: the folder is there wholly or not at all."""
    suite = Suite(suite_of(version), state=cache() / "apt")
    suite.update()
    image = next((name for name in suite.depends("linux-image-amd64") if name.startswith("linux-image-")), "")
    release = image.removeprefix("linux-image-")
    if not release.startswith((f"{version}.", f"{version}-")):
        raise HostError(f"no Linux {version}: Debian {suite.name} has {release}: see SUITES in vm/kernel.py")
    # Since 6.17 the image package is empty and depends on linux-base-, linux-binary- and linux-modules-<release>.
    packages = [image, *(name for name in suite.depends(image) if name.endswith(f"-{release}"))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{version}-") as scratch:
        debs = suite.download(packages, into=Path(scratch, "debs"))
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", deb, Path(scratch, "tree")], check=True)
        new = Path(scratch, "new")
        select(Path(scratch, "tree"), release, new)
        (new / "packages").write_text("".join(f"{deb.name}\n" for deb in debs))
        (new / "release").write_text(release + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def select(tree: Path, release: str, new: Path) -> None:
    """Take what a guest needs out of an unpacked package."""
    found = [path for prefix in ("lib", "usr/lib") if (path := tree / prefix / "modules" / release).is_dir()]
    if not found:
        raise HostError(f"no modules of {release} in its packages: their layout changed: see vm/kernel.py")
    modules = found[0]
    boot = tree / "boot"
    image = modules / "vmlinuz" if (modules / "vmlinuz").exists() else boot / f"vmlinuz-{release}"
    config = modules / "config" if (modules / "config").exists() else boot / f"config-{release}"
    new.mkdir(parents=True)
    (new / "image").write_bytes(uncompressed(image.read_bytes()))
    shutil.copy(config, new / "config")
    # The paths end in lib/modules/RELEASE, which is where depmod and modprobe look.
    kept = new / "modules" / "lib" / "modules" / release
    source = ModuleTree(modules)
    for name in source.closure(BOOT_MODULES + GUEST_MODULES):
        target = kept / source.relative(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(name))
    for listed in ("modules.builtin", "modules.order"):
        shutil.copy(modules / listed, kept / listed)
    subprocess.run([busybox(), "depmod", "-b", new / "modules", release], check=True)
    order = [kept / source.relative(name) for name in source.closure(BOOT_MODULES)]
    (new / "boot_modules").write_text("".join(f"{path.relative_to(new / 'modules')}\n" for path in order))


def uncompressed(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage, which QEMU enters through its PVH note: unpacking it in the guest takes 3 s.

    The offsets are those of Documentation/arch/x86/boot.rst.  Where this machine cannot unpack it, the image as it is.
    """
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload, size = image[start : start + length - 4], image[start + length - 4 : start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        kernel = lzma.decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd") and shutil.which("zstd"):
        kernel = subprocess.run(["zstd", "-dcq"], input=payload, capture_output=True, check=True).stdout
    else:
        return image
    if kernel[:4] != b"\x7fELF" or len(kernel) != int.from_bytes(size, "little"):
        raise HostError("kernel image not understood: its payload is no ELF file of the size it says")
    return kernel
