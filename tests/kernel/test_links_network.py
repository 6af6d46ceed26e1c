"""XDP and cgroups: modes, updates, and what is in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel import places
from kernel.compiled import object_of
from kernel.hook_objects import (
    HOOKS,
    Require,
    load,
)
from sonde.bpf import ObjectSpec
from sonde.bpf.hooks import (
    Cgroup,
    Xdp,
    XdpLink,
)
from sonde.errors import AttachError, NotSupportedError


@pytest.fixture
def network(require_feature: Require) -> Iterator[places.Network]:
    require_feature("xdp")
    with places.network() as made:
        yield made


def test_xdp_says_which_mode_it_got(network: places.Network) -> None:
    """veth's driver has native XDP; the loopback's has not."""
    with load(HOOKS, "at_xdp") as loaded:
        program = loaded.programs["at_xdp"]
        for hook, mode in (
            (Xdp(network.interface), "native"),
            (Xdp(network.index, "generic"), "generic"),
            (Xdp("lo"), "generic"),
        ):
            with program.attach(hook) as link:
                assert isinstance(link, XdpLink)
                assert link.mode == mode
        for mode in ("native", "offload"):
            with pytest.raises(NotSupportedError, match="driver declines"):
                program.attach(Xdp("lo", mode))  # type: ignore[arg-type]


def test_xdp_says_that_another_program_is_there(network: places.Network) -> None:
    with load(HOOKS, "at_xdp") as one, load(HOOKS, "at_xdp") as other:
        occupant = one.programs["at_xdp"]
        occupant.attach(Xdp(network.interface))
        with pytest.raises(AttachError, match="another XDP program is attached there") as caught:
            other.programs["at_xdp"].attach(Xdp(network.interface))
        assert f"number {occupant.id} (at_xdp) in mode " in str(caught.value)
        assert "end the process that holds its link (bpftool link show id " in str(caught.value)


def test_xdp_says_who_is_there_in_another_mode(network: places.Network, bpf_filesystem: Path) -> None:
    """A driver that has a generic program takes no native one, which the kernel tells by EEXIST alone."""
    with load(HOOKS, "at_xdp") as one, load(HOOKS, "at_xdp") as other:
        occupant = one.programs["at_xdp"]
        occupant.pin(bpf_filesystem / "foreign")
        ip = ["ip", "link", "set", "dev", network.interface]
        subprocess.run([*ip, "xdpgeneric", "pinned", str(bpf_filesystem / "foreign")], check=True)
        with pytest.raises(AttachError, match="another XDP program is attached there") as caught:
            other.programs["at_xdp"].attach(Xdp(network.interface))
        told = str(caught.value)
        assert f"number {occupant.id} (at_xdp) in mode generic" in told

        removal = f"ip link set dev {network.interface} xdpgeneric off"
        assert told.endswith(removal)
        subprocess.run(removal.split(), check=True)
        other.programs["at_xdp"].attach(Xdp(network.interface)).close()


def test_xdp_that_is_updated_never_misses_a_packet(network: places.Network) -> None:
    with ObjectSpec.open(object_of(HOOKS)) as spec:
        for name in ("at_xdp", "at_xdp_other"):
            spec.programs[name].autoload = True
        with spec.load() as loaded:
            link = loaded.programs["at_xdp"].attach(Xdp(network.interface))
            network.ping(3)
            link.update(loaded.programs["at_xdp_other"])
            network.ping(2)
            assert loaded.variables["runs"].value == 3 + 2 * 1000
            assert link.program.name == "at_xdp_other"


def test_cgroup_says_where_version_2_is(tmp_path: Path, require_feature: Require) -> None:
    require_feature("cgroup")
    with load(HOOKS, "at_cgroup") as loaded:
        program = loaded.programs["at_cgroup"]
        with pytest.raises(AttachError, match="no directory of cgroup version 2: cgroup version 2 is "):
            program.attach(Cgroup(tmp_path))
        with pytest.raises(AttachError, match="no such file or directory"):
            program.attach(Cgroup(tmp_path / "nothing"))


def test_cgroup_refuses_an_attach_type_of_another_kind(cgroup: Path, require_feature: Require) -> None:
    require_feature("cgroup")
    with load(HOOKS, "at_cgroup") as loaded:
        program = loaded.programs["at_cgroup"]
        with pytest.raises(AttachError, match="cannot be attached to a cgroup as cgroup_inet4_connect"):
            program.attach(Cgroup(cgroup, "cgroup_inet4_connect"))
        with pytest.raises(AttachError, match=r"there is no attach type egress: valid: .*cgroup_inet_egress"):
            program.attach(Cgroup(cgroup, "egress"))
