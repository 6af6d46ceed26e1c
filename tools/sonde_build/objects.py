"""Compile BPF C into objects that load on any kernel with BTF, the same bytes each time for one compiler."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sonde_build.compilers import BuildError, Compiler, bpf_compiler, run
from sonde_build.libbpf import Libbpf
from sonde_build.stamps import Stamp, digest_of

HERE = Path(__file__).parent


@dataclass(frozen=True)
class ObjectBuilder:
    """What compiling takes: where paths in debug information begin, our headers, libbpf, and a place for stamps."""

    root: Path
    include: Path
    libbpf: Libbpf
    host: Compiler
    stamps: Path

    def build(self, source: Path, output: Path) -> bool:
        """Make output from source unless it is current; True when it had to be made."""
        source, output = source.resolve(), output.resolve()
        compiler = bpf_compiler()
        headers = sorted({*self.include.rglob("*.h"), *source.parent.glob("*.h")})
        inputs = digest_of(
            *compiler.flags, compiler.identity, self.libbpf.identity, Path(__file__), source, *headers
        )
        stamp = Stamp(self._stamp_path(output), inputs=inputs, outputs=[output])
        if stamp.is_current():
            return False
        print(f"compiling {os.path.relpath(source, self.root)}", flush=True)
        self._compile(compiler, source, output)
        stamp.write()
        return True

    def _stamp_path(self, output: Path) -> Path:
        return self.stamps / (os.path.relpath(output, self.root).replace("/", "_") + ".stamp")

    def _compile(self, compiler: Compiler, source: Path, output: Path) -> None:
        linker = self._linker()
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".compiling-") as name:
            raw, linked = Path(name) / "raw.o", Path(name) / "linked.o"
            includes = [f"-I{source.parent}", f"-I{self.include}", f"-I{self.libbpf.include}"]
            # BTF's line information names the source file: by its path in the project, not on this machine.
            relative = [f"-ffile-prefix-map={self.root}/=", "-fdebug-compilation-dir=."]
            command = [*compiler.command, *compiler.flags, *includes, *relative]
            run([*command, "-c", str(source), "-o", str(raw)], cwd=self.root)
            run([str(linker), str(linked), str(raw)])
            linked.chmod(0o644)
            linked.replace(output)

    def _linker(self) -> Path:
        """The small program around libbpf's linker."""
        source, program = HERE / "link_object.c", self.stamps / "link_object"
        inputs = digest_of(self.libbpf.identity, self.host.identity, *self.host.flags, source)
        stamp = Stamp(self.stamps / "link_object.stamp", inputs=inputs, outputs=[program])
        if not stamp.is_current():
            self.stamps.mkdir(parents=True, exist_ok=True)
            command = [*self.host.command, *self.host.flags, "-O2", f"-I{self.libbpf.include}", str(source)]
            run([*command, str(self.libbpf.archive), "-lelf", "-lz", "-o", str(program)])
            stamp.write()
        return program


def build_all(builder: ObjectBuilder, sources: Iterable[Path], *, into: Path | None = None) -> list[Path]:
    """Each NAME.bpf.c to NAME.bpf.o, in the same folder or another; the objects.  BuildError has all that failed."""
    objects, failures = [], []
    for source in sorted(sources):
        output = (into or source.parent) / source.with_suffix(".o").name
        try:
            builder.build(source, output)
        except BuildError as error:
            failures.append(str(error))
        objects.append(output)
    if failures:
        raise BuildError("\n\n".join(failures))
    return objects
