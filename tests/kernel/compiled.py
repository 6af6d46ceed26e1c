"""The BPF objects of the kernel tests, compiled once and kept under ``build/test-objects``.

The name of an object holds the digest of all that it is made from but the compiler, so that a virtual machine,
which sees the host's files read-only and need not have a compiler, finds what the host compiled. Before it boots,
``PYTHONPATH=tools:tests python -m kernel.compiled`` compiles every ``*.bpf.c`` below ``tests/kernel`` that wants to be compiled.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from sonde_build.compilers import BPF_FLAGS, BuildError, find_clang, host_compiler, run
from sonde_build.extension import PACKAGE, object_builder
from sonde_build.objects import ObjectBuilder
from sonde_build.stamps import digest_of, write_if_changed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OBJECTS = HERE / "objects"
CACHE = ROOT / "build" / "test-objects"


@functools.cache
def _builder() -> ObjectBuilder:
    CACHE.mkdir(parents=True, exist_ok=True)
    builder = object_builder()
    builder.stamps.mkdir(parents=True, exist_ok=True)
    return builder


def object_of(source: str | Path) -> Path:
    """The object of a source: a path (a relative one below ``tests/kernel/objects``), or a text of several lines.

    A text is compiled when a test first asks for it, which only tests of the host do.
    """
    if isinstance(source, str) and "\n" in source:
        path = CACHE / f"text-{digest_of(source)[:16]}.bpf.c"
        if not path.exists():
            write_if_changed(path, source)
    else:
        path = OBJECTS / source
    output = _output(path)
    if not output.exists():
        _compile(path, output)
    return output


def _output(path: Path) -> Path:
    headers = sorted({*path.parent.glob("*.h"), *(PACKAGE / "probes" / "_include").rglob("*.h")})
    digest = digest_of(*BPF_FLAGS, path.name, path, *headers)[:16]
    return CACHE / f"{path.name.removesuffix('.bpf.c')}-{digest}.bpf.o"


def _compile(path: Path, output: Path) -> None:
    _require_compiler(path)
    _builder().build(path, output)


def _require_compiler(path: Path) -> None:
    if "SONDE_VM_KERNEL" in os.environ:
        raise BuildError(
            f"{path.name} is not compiled: on the host, before the guest boots: PYTHONPATH=tools:tests python -m kernel.compiled"
        )


def program_of(source: str | Path) -> Path:
    """The program for this machine of a C file below ``tests/kernel/objects``, compiled and kept like the objects."""
    path = OBJECTS / source
    output = CACHE / f"{path.stem}-{digest_of(path.name, path)[:16]}"
    if not output.exists():
        _require_compiler(path)
        CACHE.mkdir(parents=True, exist_ok=True)
        part = output.with_suffix(f".{os.getpid()}")
        compiler = host_compiler()
        run([*compiler.command, *compiler.flags, "-O2", "-Wall", str(path), "-o", str(part)])
        part.replace(output)
    return output


def compile_all() -> list[Path]:
    """Compile every source below ``tests/kernel``; the objects and programs."""
    programs = [path for path in sorted(OBJECTS.rglob("*.c")) if not path.name.endswith(".bpf.c")]
    # Shapes and examples are compiled as other people compile: kernel.plain.
    sources = [path for path in sorted(HERE.rglob("*.bpf.c")) if path.parent.name != "shapes"]
    from kernel.plain import compile_plain

    return [object_of(path) for path in sources] + [program_of(path) for path in programs] + compile_plain()


def main() -> None:
    """Compile all and say how many there are."""
    print(f"{len(compile_all())} objects in {CACHE.relative_to(ROOT)}, compiler: {find_clang() or 'zig'}")


if __name__ == "__main__":
    main()
