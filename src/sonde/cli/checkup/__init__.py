"""What ``sonde doctor`` looks at, one file for each group; a module here with ``checks`` is one, ``ORDER`` sorts them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from sonde.cli.checkup.check import Check


def groups() -> Iterator[tuple[str, Iterator[Check]]]:
    """Give each group's title and its checks, which run as they are asked for."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    ]
    for module in sorted((each for each in modules if hasattr(each, "checks")), key=_order):
        yield module.TITLE, module.checks()


def _order(module: ModuleType) -> int:
    return int(module.ORDER)
