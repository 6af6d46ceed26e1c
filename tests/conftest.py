"""What all tests share: signals as a person's shell hands them on, and patience."""

from __future__ import annotations

import gc
import signal

# A job in the background of a script is started with these ignored, and hands that on to what it starts: Ctrl-C would
# then end none of the commands that the tests run.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    # The virtual machines' environment has none, for the tests of what is pure run here alone.
    pass
else:
    # Machines are shared: an example that takes long says nothing of the code.
    settings.register_profile("patient", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
    settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """What was collected lives to the end: to look through it at each gc.collect() would take longer than most tests."""
    gc.collect()
    gc.freeze()
