"""What is delivered beside the wheel: the unit, the image's definition, the DaemonSet."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sonde.agent.config import load_config
from sonde.version import VERSION

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd" / "sonde.service"
EXPOSURE_MAX = 3.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: verify wants to find it."""
    path = tmp_path / "sonde.service"
    path.write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE)
    )
    return path


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=120, check=False
    )


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    told = analyzed("verify", "--man=no", str(unit))
    # systemd warns of other units of this machine, too, which are not ours.
    ours = [line for line in (told.stdout + told.stderr).splitlines() if "sonde" in line]
    assert (told.returncode, ours) == (0, [])


@needs_systemd
def test_the_unit_is_hardened(unit: Path) -> None:
    told = analyzed("security", "--offline=true", "--no-pager", str(unit))
    exposure = re.search(r"Overall exposure level for sonde.service: ([\d.]+)", told.stdout)
    assert exposure is not None, told.stdout + told.stderr
    assert float(exposure[1]) <= EXPOSURE_MAX


@needs_systemd
def test_verify_would_tell_of_a_mistake(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KilMode=mixed"))
    told = analyzed("verify", "--man=no", str(unit))
    assert "KilMode" in told.stdout + told.stderr


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PACKAGING / "kubernetes" / "daemonset.yaml").read_text()))


@pytest.mark.parametrize("version", ["1.31", "1.33", "1.35"])
def test_kubernetes_takes_the_manifest(version: str) -> None:
    import kubernetes_validate

    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)


def test_a_mistake_in_the_manifest_would_be_told() -> None:
    import kubernetes_validate

    document = documents()[-1]
    document["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_the_manifests_configuration_is_right(tmp_path: Path) -> None:
    """What the pod is given can be loaded, with what Kubernetes puts into its environment."""
    (settings,) = [each for each in documents() if each["kind"] == "ConfigMap"]
    (pods,) = [each for each in documents() if each["kind"] == "DaemonSet"]
    path = tmp_path / "sonde.toml"
    path.write_text(settings["data"]["sonde.toml"])
    (container,) = pods["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "node-1") for each in container["env"]}
    config = load_config(str(path), environment)
    assert config.exporters == ("prometheus",)
    assert config.prometheus.listen is not None
    assert config.prometheus.listen.port == container["ports"][0]["containerPort"]
    assert f"sonde:{VERSION}" == container["image"]


def test_unit_and_pod_have_the_capabilities_that_the_loader_keeps() -> None:
    from sonde.agent.loader.process import IDENTITIES
    from sonde.probes import all_probes

    probes = all_probes().values()
    needed = {name for probe in probes if not probe.on_interfaces for name in probe.capabilities}
    needed.add(IDENTITIES)
    # Where a probe on interfaces is configured the drop-in adds what it needs.
    more = {name for probe in probes if probe.on_interfaces for name in probe.capabilities} - needed
    dropped_in = (UNIT.parent / "interfaces.conf").read_text()
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        (line,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)
        assert set(line.split()) == needed
        (line,) = re.findall(rf"^{key}=(.*)$", dropped_in, re.MULTILINE)
        assert set(line.split()) == more
    assert "\nRestrictAddressFamilies=AF_NETLINK\n" in dropped_in
    (pods,) = [each for each in documents() if each["kind"] == "DaemonSet"]
    (container,) = pods["spec"]["template"]["spec"]["containers"]
    added = {f"CAP_{name}" for name in container["securityContext"]["capabilities"]["add"]}
    # Those by which root becomes the user sonde, too.
    assert added == needed | {"CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"}
