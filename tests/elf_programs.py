"""Programs that tests compile to read their symbols: of C and C++, with what strip and objcopy make of them."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from sonde.enrich.symbols.binary import Binary
from sonde.enrich.symbols.elf import ElfFile
from sonde.records.frames import Frame

C_SOURCE = """\
#include <stdlib.h>
static __attribute__((noinline, used)) long inner(long value) { return value * 31 + 7; }
__attribute__((noinline)) long outer(long value) { return inner(value) + labs(value); }
int main(int count, char **words) { (void)words; return (int)outer(count); }
"""

CPP_SOURCE = """\
namespace shop {
static inline __attribute__((always_inline)) unsigned long price(unsigned long x)
{
	for (int i = 0; i < 9; i++)
		x = x * 31 + i;
	return x;
}
template <class Number> struct Cart {
	Number total = 0;
	__attribute__((noinline)) Number add(Number x)
	{
		total += price(x);
		asm volatile("" : : "r"(total));
		return total;
	}
};
} // namespace shop
int main(int count, char **)
{
	shop::Cart<unsigned long> cart;
	cart.add(count);
	return (int)cart.total;
}
"""


def compiled(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile a program in a folder; C++ where its source has a template."""
    is_cpp = "template" in source
    path = folder / f"{name}.{'cpp' if is_cpp else 'c'}"
    path.write_text(source)
    output = folder / name
    compiler = os.environ.get("CXX" if is_cpp else "CC") or ("c++" if is_cpp else "cc")
    run(compiler, "-O2", "-fno-omit-frame-pointer", *flags, str(path), "-o", str(output))
    return output


def run(*command: str) -> None:
    """Run a tool; what it says is in the failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def stripped(path: Path) -> Path:
    """Make a copy without symbols; names of what it imports and exports stay."""
    target = path.with_name(f"{path.name}-stripped")
    run("strip", "-o", str(target), str(path))
    return target


def debug_file_of(path: Path, target: Path) -> Path:
    """Move the debug information to a file of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    run("objcopy", "--only-keep-debug", str(path), str(target))
    return target


def with_debug_link(path: Path, debug: Path) -> Path:
    """Name the debug file in a stripped program; as Debian does, without the build id."""
    target = path.with_name(f"{path.name}-linked")
    shutil.copy(path, target)
    run(
        "objcopy",
        "--remove-section=.note.gnu.build-id",
        "--remove-section=.gnu_debuglink",
        str(target),
    )
    run("objcopy", f"--add-gnu-debuglink={debug}", str(target))
    return target


def with_shared_names(path: Path) -> Path:
    """Move what two programs have in common of their debug information to a file beside, as distributions do it (.gnu_debugaltlink)."""
    target, other = path.with_name(f"{path.name}-shared"), path.with_name(f"{path.name}-other")
    shutil.copy(path, target)
    shutil.copy(path, other)
    run("dwz", "-m", str(path.with_name(f"{path.name}.common")), str(target), str(other))
    return target


def with_packed_symbols(path: Path, whole: Path) -> Path:
    """Add the symbols of the whole program to a stripped one, packed as Fedora does it (.gnu_debugdata)."""
    only = path.with_name("only-symbols")
    run("objcopy", "--only-keep-debug", "--strip-debug", str(whole), str(only))
    packed = path.with_name("packed.xz")
    packed.write_bytes(lzma.compress(only.read_bytes(), format=lzma.FORMAT_XZ))
    target = path.with_name(f"{path.name}-packed")
    run("objcopy", f"--add-section=.gnu_debugdata={packed}", str(path), str(target))
    return target


def elf(path: Path) -> ElfFile:
    """Read a file whole."""
    return ElfFile.of_bytes(path.read_bytes())


def symbols_by_nm(path: Path) -> dict[str, tuple[int, int]]:
    """Give each function's address and size, as nm tells them."""
    lines = subprocess.run(
        ["nm", "-S", "--defined-only", str(path)], capture_output=True, text=True, check=True
    ).stdout
    words = [line.split() for line in lines.splitlines()]
    # The compiler may have made a copy of a function, with its arguments arranged otherwise (.isra.0).
    return {
        each[3].partition(".")[0]: (int(each[0], 16), int(each[1], 16)) for each in words if len(each) == 4
    }


def offset_of(path: Path, address: int) -> int:
    """Give where in its file the code for an address is."""
    (found,) = (
        address - each.address + each.offset
        for each in elf(path).segments
        if each.is_code and each.address <= address < each.address + each.size_bytes
    )
    return found


def frames_at(binary: Binary, path: Path, address: int) -> tuple[Frame, ...]:
    """Name one address of a program."""
    (found,) = binary.frames(np.array([offset_of(path, address)], np.uint64))
    return found
