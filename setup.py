"""The build's entrance for setuptools; pyproject.toml says what sonde is, tools/sonde_build how it is compiled."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "tools"))

from sonde_build import extension
from sonde_build.stamps import Stamp, digest_of


class BuildPython(build_py):
    """The package's files, objects among them: they must be there before they are gathered."""

    def run(self) -> None:
        extension.build_objects()
        super().run()


class BuildExtension(build_ext):
    """The extension, compiled again only when something that it is made from has changed."""

    def run(self) -> None:
        ready = extension.prepare()
        (native,) = self.extensions
        native.sources = [str(path.relative_to(extension.ROOT)) for path in ready.sources]
        native.include_dirs = [str(extension.BINDING.relative_to(extension.ROOT)), str(ready.libbpf.include)]
        native.extra_objects = [str(ready.libbpf.archive)]
        super().run()

    def build_extensions(self) -> None:
        ready = extension.prepare()
        compiler = [*ready.compiler.command, *ready.compiler.flags]
        # Not Python's own flags: they belong to the compiler that built Python.
        self.compiler.set_executables(
            compiler_so=[*compiler, *extension.COMPILE], linker_so=[*compiler, *extension.LINK]
        )
        self.compiler.library_dirs = []
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        output = Path(self.get_ext_fullpath(ext.name))
        ready = extension.prepare()
        flags = [*ready.compiler.flags, *extension.COMPILE, *extension.LINK]
        files = [*ready.sources, extension.BINDING / "native.h", extension.EXPORTS]
        inputs = digest_of(ready.libbpf.identity, ready.compiler.identity, *flags, *files)
        stamp = Stamp(extension.BUILD / "stamps" / f"{output.name}.stamp", inputs=inputs, outputs=[output])
        # A wheel's extension is made in a fresh folder, each time.
        if self.inplace and stamp.is_current():
            return
        print("compiling the extension", flush=True)
        self.force = True
        super().build_extension(ext)
        if self.inplace:
            stamp.write()


setup(
    ext_modules=[Extension("sonde._libbpf._native", sources=[], libraries=["elf", "z"], py_limited_api=True)],
    cmdclass={"build_py": BuildPython, "build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
