"""Features found by trying: held against evidence that is found another way, with and without capabilities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel import evidence
from sonde._libbpf import ffi, lib
from sonde.bpf import capabilities, features
from sonde.errors import NotSupportedError

SHARED = sorted({feature.name for feature in features.FEATURES} & set(evidence.FEATURES))

ASK = """
import json
from sonde.bpf import capabilities, features
answers = {support.name: [support.value, support.reason] for support in features.all()}
print(json.dumps([answers, sorted(capabilities.effective()), capabilities.refusal()]))
"""


def ask(*capability: str) -> tuple[dict[str, tuple[bool | None, str]], list[str], str | None]:
    """Ask for all features in a process that has these capabilities and no other."""
    granted = ",".join(["-all", *(f"+{name}" for name in capability)])
    command = ["setpriv", "--inh-caps=-all", f"--bounding-set={granted}", sys.executable, "-c", ASK]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stderr == ""
    answers, effective, refusal = json.loads(result.stdout)
    return answers, effective, refusal


def ids() -> dict[str, set[int]]:
    """What is loaded in the kernel, of anyone's."""
    found: dict[str, set[int]] = {}
    for kind in ("prog", "map", "link"):
        found[kind] = set()
        number = ffi.new("uint32_t *")
        while getattr(lib, f"bpf_{kind}_get_next_id")(number[0], number) == 0:
            found[kind].add(number[0])
    return found


@pytest.mark.parametrize("name", SHARED)
def test_answer_agrees_with_the_evidence(name: str) -> None:
    """Root is never left without an answer; a feature is missing exactly where the kernel's own papers say so."""
    support = features.have(name)
    reason = evidence.absent(name)
    if reason is None:
        assert support.value is True, f"{support.reason}; no evidence that it is missing"
    else:
        assert support.value is False, f"it works, but {reason}"


def test_every_hook_has_a_feature() -> None:
    """What programs attach to, the product can tell before; and there is evidence to hold it against."""
    hooks = {
        "tracepoint",
        "raw_tp",
        "tp_btf",
        "kprobe",
        "kprobe_multi",
        "uprobe",
        "uprobe_multi",
        "usdt",
        "fentry",
    }
    hooks |= {"perf_event", "xdp", "tcx", "clsact", "cgroup", "task_iterator", "lsm"}
    assert hooks <= {feature.name for feature in features.FEATURES}
    assert {"kprobe", "uprobe_multi", "fentry", "lsm", "tcx", "tp_btf"} <= set(SHARED)


@pytest.mark.parametrize("feature", features.FEATURES, ids=lambda feature: feature.name)
def test_every_feature_is_answered_for_root(feature: features.Feature) -> None:
    """Yes or no, a reason, and what would provide it."""
    support = features.have(feature.name)
    assert support.value is not None
    assert support.reason
    assert feature.since in support.provides
    assert bool(support) is support.value


TRY = "from kernel.test_features import try_all; try_all()"


def test_trying_leaves_nothing_behind() -> None:
    """No program, map, link, descriptor or thread, no mount and no network namespace.

    In a process and a mount namespace of their own, in which nobody else does anything.
    """
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", TRY]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    tried = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (tried.returncode, tried.stderr) == (0, "")


def try_all() -> None:
    """Try all features, and look at what is left."""
    list(features.all())  # libbpf keeps what it found out about the kernel
    features._have.cache_clear()
    before, descriptors, mounts = (
        ids(),
        len(os.listdir("/proc/self/fd")),
        Path("/proc/self/mounts").read_text(),
    )
    list(features.all())
    after = ids()
    for kind, numbers in after.items():
        assert numbers <= before[kind] | _of_others(kind, numbers - before[kind]), kind
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert Path("/proc/self/mounts").read_text() == mounts
    assert "sonde-trial" not in _threads()


def _threads() -> list[str]:
    return [Path(f"/proc/self/task/{tid}/comm").read_text().strip() for tid in os.listdir("/proc/self/task")]


def _of_others(kind: str, numbers: set[int]) -> set[int]:
    """Those that this process holds no descriptor of: other tests may run at the same time."""
    held = set()
    for fd in os.listdir("/proc/self/fdinfo"):
        try:
            lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
        except OSError:
            continue
        held |= {int(line.split()[1]) for line in lines if line.startswith(f"{kind}_id:")}
    return numbers - held


def test_answers_are_kept() -> None:
    """A second question costs nothing and gets the same object."""
    assert features.have("ring_buffer") is features.have("ring_buffer")
    assert features.have("kprobe.multi") is features.have("kprobe_multi") is features.have("Kprobe-Multi")


def test_unknown_name_is_told_with_the_nearest() -> None:
    """A typing mistake is no missing feature."""
    with pytest.raises(ValueError, match="did you mean 'ring_buffer'"):
        features.have("ringbuffer")


def test_require_says_what_would_provide_a_missing_feature() -> None:
    """NotSupportedError names operation, feature, reason, kernel and option."""
    missing = [feature.name for feature in features.FEATURES if features.have(feature.name).value is False]
    for name in missing:
        with pytest.raises(NotSupportedError) as caught:
            features.require(name, operation="attach to", subject="somewhere")
        assert caught.value.feature == name
        assert str(caught.value).startswith("attach to somewhere: ")
        assert features.have(name).feature.since in str(caught.value)
    features.require("btf")


def test_without_capabilities_the_answer_is_unknown_and_names_them() -> None:
    """A kernel with a feature and one without answer alike to who may not ask."""
    answers, effective, refusal = ask()
    assert effective == []
    assert refusal == "the process lacks CAP_BPF, CAP_PERFMON"
    for feature in features.FEATURES:
        value, reason = answers[feature.name]
        if not feature.capabilities:
            assert value is features.have(feature.name).value
            continue
        # Some things are allowed to everyone on some machines; what works without is no secret.
        assert value is not False, feature.name
        if value is None:
            assert any(name in reason for name in feature.capabilities), reason


def test_with_the_tracing_capabilities_the_tracing_features_are_known() -> None:
    """CAP_BPF and CAP_PERFMON suffice for what needs no more; networks stay unknown."""
    answers, effective, refusal = ask("bpf", "perfmon")
    assert effective == ["CAP_BPF", "CAP_PERFMON"]
    assert refusal is None
    for name in ("raw_tp", "tp_btf", "ring_buffer", "batch", "loop", "task_iterator"):
        assert answers[name][0] is features.have(name).value, answers[name]
    # Debian's kernels want more for perf events, by a sysctl that others do not know.
    value, reason = answers["perf_event"]
    assert value or (value is None and reason.endswith("it may take CAP_SYS_ADMIN here"))
    for name in ("xdp", "clsact"):
        value, reason = answers[name]
        assert value is None
        assert "CAP_NET_ADMIN" in reason


def test_require_without_capabilities_names_what_is_missing() -> None:
    """PermissionDeniedError with the capability, before anything is loaded."""
    code = (
        "from sonde.bpf import features, capabilities\n"
        "from sonde.errors import PermissionDeniedError\n"
        "for action in (lambda: features.require('tp_btf'), lambda: capabilities.require(operation='trace')):\n"
        "    try: action()\n"
        "    except PermissionDeniedError as error: print(error.capability, '|', error)\n"
    )
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", code]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("CAP_BPF, CAP_PERFMON | ")
        assert "AmbientCapabilities=CAP_BPF CAP_PERFMON" in line


def test_root_may_load() -> None:
    """Nothing is missing, and CAP_SYS_ADMIN stands for those that were split from it."""
    assert capabilities.refusal() is None
    assert capabilities.missing(capabilities.TRACING) == ()
    capabilities.require(operation="trace")


def test_admin_capability_includes_bpf_and_perfmon() -> None:
    """The kernel takes CAP_SYS_ADMIN for them, so a process that has only that one lacks nothing."""
    _, effective, refusal = ask("sys_admin")
    assert effective == ["CAP_SYS_ADMIN"]
    assert refusal is None


def test_in_a_user_namespace_capabilities_are_not_enough() -> None:
    """All capabilities of a namespace are none of the host's: unknown, and said so."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", ASK]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0 and "unshare" in result.stderr:
        assert Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0", result.stderr
        pytest.skip("user.max_user_namespaces is 0")
    answers, _, refusal = json.loads(result.stdout)
    assert refusal is not None
    assert "user namespace" in refusal
    for name in ("tp_btf", "kprobe", "xdp", "lsm"):
        assert answers[name][0] is None, answers[name]
