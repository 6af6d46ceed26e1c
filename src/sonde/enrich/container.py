"""Containers: the id, and the Kubernetes pod, that a cgroup's path tells."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

# Docker, containerd, CRI-O and podman name a container by 64 hexadecimal digits, Amazon's Fargate by 32 and a number.
# systemd's driver writes RUNTIME-ID.scope, the cgroupfs driver ID alone, and containerd under the wrong driver
# SLICE:RUNTIME:ID. Podman without its own scope (--cgroups=split) writes libpod-payload-ID.
_CONTAINER = re.compile(
    r"(?:[^:]*:)?(?:(?P<runtime>[a-z][a-z_.]*(?:-[a-z_.]+)*)[-:])?(?P<id>[0-9a-f]{64}|[0-9a-f]{32}-[0-9]{1,10})(?:\.scope)?"
)

# What watches over a container is beside it, in a scope with its id.
_WATCHERS = ("conmon", "libpod-conmon", "crio-conmon")

# Of the API server's pods a UUID, of static ones a hash without dashes. In slices the dashes are underscores, for a dash
# there leads to the parent slice.
_POD = re.compile(
    r"(?:^|[-/])pod(?P<uid>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=/|\.slice|:|$)"
)


@dataclass(frozen=True, slots=True)
class Container:
    """What a cgroup's path tells of a container; empty where it tells nothing.

    ``runtime`` is what the path calls it: docker, cri-containerd, crio, libpod, nerdctl.
    """

    id: str = ""
    runtime: str = ""
    pod_uid: str = ""


@functools.lru_cache(maxsize=4096)
def container_of(path: str) -> Container:
    """Find the container that a cgroup belongs to: the innermost, where one runs in another."""
    uid = ""
    if "kubepods" in path:
        for found in _POD.finditer(path):
            uid = found["uid"].replace("_", "-")
    for component in reversed(path.split("/")):
        found_here = _CONTAINER.fullmatch(component)
        if found_here is None:
            continue
        runtime = found_here["runtime"] or ""
        if runtime in _WATCHERS:
            break
        return Container(found_here["id"], runtime.removesuffix("-payload"), uid)
    return Container(pod_uid=uid)
