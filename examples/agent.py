"""The agent for a few seconds: it measures, is scraped, stops, and its summary says what its last page said.

    sudo python examples/agent.py [SECONDS]

Exits with 0 when summary and page agree to the last event.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any


def free_port() -> int:
    """Find a port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(url: str) -> str | None:
    """Scrape once; None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def total(text: str, metric: str) -> int:
    """Add up a counter's series."""
    name = metric.replace(".", "_")
    values = re.findall(rf"^{name}_total(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return sum(int(float(value)) for value in values)


def show(summary: dict[str, Any], page: str, scraped: str) -> bool:
    """Print both beside each other; tell whether they agree."""
    for name, account in summary["outputs"].items():
        print(f"{name}: {account['equation']}")
    print(f"/metrics: {scraped}; the summary, and the last page:")
    agree = True
    for metric, found in summary["metrics"].items():
        on_page = total(page, metric)
        agree = agree and on_page == found["total"]
        top = ", ".join(f"{who} {count:,}" for who, count in found["top"].items())
        print(
            f"  {metric}: {found['total']:,} {'=' if on_page == found['total'] else '!='} {on_page:,}; {top}"
        )
    cost = summary["cost"]
    print(f"cost: {cost['share']:.1%} of a core, {sum(cost['memory_bytes'].values()) / 1e6:.0f} MB")
    return agree


def main() -> int:
    """Run it, scrape it, compare."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    url = f"http://127.0.0.1:{free_port()}/metrics"
    address = url.removeprefix("http://").removesuffix("/metrics")
    command = [sys.executable, "-m", "sonde", "run", "--for", f"{seconds}s", "--format", "json"]
    command += [
        "--set",
        f"prometheus.listen={address}",
        "--set",
        "prometheus.linger=10s",
        "--set",
        "interval=1s",
    ]
    print(f"sonde run for {seconds:g} s, scraped from {url}\n", flush=True)
    ready, told = os.pipe()
    agent = subprocess.Popen(
        [*command, "--ready-fd", str(told)], stdout=subprocess.PIPE, text=True, pass_fds=(told,)
    )
    os.close(told)
    os.read(ready, 1)
    last, scrapes, bytes_read = None, 0, 0
    while (text := page(url)) is not None:
        last, scrapes, bytes_read = text, scrapes + 1, bytes_read + len(text)
        time.sleep(0.5)
    out, _ = agent.communicate(timeout=60)
    if agent.returncode or last is None:
        return agent.returncode or 1
    summary = json.loads(out)["summary"]

    agree = show(summary, last, f"{scrapes} scrapes of {bytes_read // scrapes:,} bytes")
    print(f"summary and page {'agree' if agree else 'DISAGREE: a bug of sonde'}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
