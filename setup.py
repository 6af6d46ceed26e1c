"""The build's entrance for setuptools; pyproject.toml says what sonde is, tools/sonde_build how it is compiled."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "tools"))

from sonde_build import extension
from sonde_build.compilers import BuildError


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
        includes = [extension.BINDING, ready.libbpf.include, *extension.python_headers()]
        native.include_dirs = [str(path) for path in includes]
        native.extra_objects = [str(ready.libbpf.archive)]
        stamp = extension.binding_stamp(ready)
        # A wheel's extension is made in a folder of its own, each time.
        if self.inplace and stamp.is_current():
            return
        print("compiling the extension", flush=True)
        self.force = True
        super().run()
        if self.inplace:
            stamp.write()

    def build_extensions(self) -> None:
        ready = extension.prepare()
        compiler = [*ready.compiler.command, *ready.compiler.flags]
        # Not Python's own flags: they belong to the compiler that built Python.
        self.compiler.set_executables(
            compiler_so=[*compiler, *extension.COMPILE], linker_so=[*compiler, *extension.LINK]
        )
        self.compiler.set_library_dirs([])
        super().build_extensions()


try:
    setup(
        ext_modules=[
            Extension("sonde._libbpf._native", sources=[], libraries=["elf", "z"], py_limited_api=True)
        ],
        cmdclass={"build_py": BuildPython, "build_ext": BuildExtension},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
except BuildError as error:
    sys.exit(f"sonde: {error}")
