"""Objects compiled as other people compile: a bare clang, as examples/README.md says, and no linker of ours.

The four examples and the shapes below ``objects/shapes``. They are kept beside the other objects of the tests, under a
name that holds the digest of what they are made from.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from kernel.compiled import CACHE, OBJECTS, ROOT
from sonde_build.compilers import BuildError, find_clang, run, zig_command
from sonde_build.extension import object_builder
from sonde_build.stamps import digest_of

EXAMPLES = ROOT / "examples"
SHAPES = OBJECTS / "shapes"
WITHOUT_DEBUG = {"no_btf"}
"""Shapes that are compiled without -g: BTF is what the compiler makes of the debug information."""


def plain_command(source: Path, output: Path, *, include: Path) -> list[str]:
    """What a person types: ``clang -target bpf -mcpu=v2 -O2 -g -c FILE``; PyPI's zig, a clang too, where there is none.

    Since clang 20 the default is v3, whose atomic additions Linux 5.10 and 5.11 reject.
    """
    clang = find_clang()
    compiler = [clang, "-target", "bpf"] if clang else [*zig_command(), "cc", "-target", "bpfel-freestanding"]
    debug = [] if source.name.split(".")[0] in WITHOUT_DEBUG else ["-g"]
    headers = ["-nostdinc", f"-I{source.parent}", f"-I{include}"]
    return [*compiler, "-mcpu=v2", "-O2", *debug, *headers, "-c", str(source), "-o", str(output)]


def plain_object_of(source: Path) -> Path:
    """The object of an example or a shape, compiled when it is first asked for."""
    headers = sorted({*source.parent.rglob("*.h"), Path(__file__)})
    digest = digest_of(source, *headers)[:16]
    output = CACHE / f"plain-{source.name.removesuffix('.bpf.c')}-{digest}.bpf.o"
    if not output.exists():
        _compile(source, output)
    return output


def _compile(source: Path, output: Path) -> None:
    if "SONDE_VM_KERNEL" in os.environ:
        raise BuildError(
            f"{source.name} is not compiled: on the host: PYTHONPATH=tools:tests python -m kernel.plain"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".compiling-") as folder:
        raw = Path(folder) / "raw.o"
        run(plain_command(source, raw, include=object_builder().libbpf.include))
        raw.chmod(0o644)
        raw.replace(output)


def example(name: str) -> Path:
    """The object of an example."""
    return plain_object_of(EXAMPLES / f"{name}.bpf.c")


def shape(name: str) -> Path:
    """The object of a shape."""
    return plain_object_of(SHAPES / f"{name}.bpf.c")


def shape_names() -> list[str]:
    """The shapes that there are."""
    return sorted(path.name.removesuffix(".bpf.c") for path in SHAPES.glob("*.bpf.c"))


def compile_plain() -> list[Path]:
    """Compile all, as for virtual machines, which need not have a compiler; the objects."""
    return [plain_object_of(path) for path in sorted([*EXAMPLES.glob("*.bpf.c"), *SHAPES.glob("*.bpf.c")])]


if __name__ == "__main__":
    print(f"{len(compile_plain())} objects in {CACHE.relative_to(ROOT)}", file=sys.stderr)
