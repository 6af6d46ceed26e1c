"""The headers of another kernel of Debian's are where that kernel's own would be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from vm import headers
from vm.kernel import Kernel


def test_each_folder_has_the_place_that_others_of_them_point_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel's own folder includes the common one by its path; what builds modules finds both by the kernel's release."""
    monkeypatch.setattr(headers, "find", lambda _: tmp_path)
    sources = tmp_path / "usr" / "src"
    for name in ("5.10.0-32-amd64", "5.10.0-32-common"):
        (sources / f"linux-headers-{name}").mkdir(parents=True)

    places = headers.places(Kernel("5.10.0", "5.10.0-32-amd64", tmp_path))

    assert places == {
        "/usr/src/linux-headers-5.10.0-32-amd64": sources / "linux-headers-5.10.0-32-amd64",
        "/usr/src/linux-headers-5.10.0-32-common": sources / "linux-headers-5.10.0-32-common",
        "/lib/modules/5.10.0-32-amd64/build": sources / "linux-headers-5.10.0-32-amd64",
        "/lib/modules/5.10.0-32-amd64/source": sources / "linux-headers-5.10.0-32-common",
    }
