"""What the agent's process holds for weeks."""

from __future__ import annotations

import subprocess
import sys

NEVER = ("click", "gettext", "locale", "sonde.cli.root", "sonde.bpf.trial", "sonde.run.control", "sonde.bpf.link.tc", "sonde.exporters.json_lines.exporter")  # fmt: skip
"""Reading a command line, loading and attaching, an exporter that is not asked for."""

SOME = (
    "numpy",
    "sonde.agent.loader.remote_run",
    "sonde.exporters.prometheus.exporter",
    "sonde.records.totals",
)
"""What is there, so that the list above is of what it might be."""


def test_it_is_without_what_reads_a_command_line_and_what_loads() -> None:
    code = (
        "import sys\n"
        "import sonde.cli.agent, sonde.cli.failure, sonde.cli.own_process\n"
        "import sonde.agent.config, sonde.agent.agent, sonde.agent.loader.loader, sonde.agent.privileges\n"
        "import sonde.exporters.prometheus.exporter, sonde.exporters.json_lines.settings\n"
        "import numpy, sonde.records.opening\n"
        f"print([name for name in {NEVER!r} if name in sys.modules])\n"
        f"print([name for name in {SOME!r} if name not in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n[]\n"
