"""In the guest: the list of what this kernel must be able to do is true, and nothing is missing from it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from sonde.bpf import features

EXPECTED = Path(__file__).resolve().parents[1] / "expected.toml"
FEATURES = {feature.name for feature in features.FEATURES}


@pytest.fixture
def expected() -> set[str]:
    """The features of expected.toml for this kernel that the product can try."""
    return FEATURES & set(tomllib.loads(EXPECTED.read_text())[os.environ["SONDE_VM_KERNEL"]]["features"])


def test_what_is_expected_works(expected: set[str]) -> None:
    lacking = {name: features.have(name).reason for name in expected if not features.have(name)}
    assert lacking == {}


def test_what_works_is_expected(expected: set[str]) -> None:
    """Else a later loss of it would pass as a skip: add the name to tools/vm/expected.toml."""
    works = {name for name in FEATURES if features.have(name)}
    assert works - expected == set()
