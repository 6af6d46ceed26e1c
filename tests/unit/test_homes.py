"""Names of packages that are imported when they are first asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["sonde", "sonde.bpf", "sonde.run", "sonde.exporters.json_lines"]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_there(package: str) -> None:
    """Each name that it lists, whether it has been asked for or not."""
    module = importlib.import_module(package)

    assert set(module.__all__) <= set(dir(module))
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_another_name_is_told_with_the_package(package: str) -> None:
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'Nothing'$"):
        importlib.import_module(package).Nothing  # noqa: B018


def test_a_name_is_asked_for_once() -> None:
    code = "import sys, sonde.bpf\nbefore = 'sonde.bpf.map' in sys.modules\nsonde.bpf.Map\nprint(before, 'Map' in vars(sonde.bpf))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False True\n"
