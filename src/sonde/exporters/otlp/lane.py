"""The thread that delivers one signal: takes work, tries until it is delivered, refused or replaced, and keeps account."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sonde.exporters.otlp.ledger import Ledger
    from sonde.exporters.otlp.requests import Request
    from sonde.exporters.otlp.retry import Backoff
    from sonde.exporters.otlp.transport import Outcome, Transport


GIVEN_UP_WITHIN_S = 0.2
"""An attempt that is given up ends in so long, but where it hangs in a resolver; then nobody waits for it."""


class Work(Protocol):
    """What is to be delivered together: a snapshot, or batches of records."""

    @property
    def items(self) -> int:
        """Count its points or records."""
        ...

    def requests(self) -> Iterator[Request]:
        """Give its requests in the order of its items, each encoded when it is asked for."""
        ...

    def finish(self, *, passed: int) -> None:
        """End it, when so many of its items are delivered or dropped; called with the lane's condition held."""
        ...


class Supply(Protocol):
    """What waits for a lane. Its methods are called with the lane's condition held."""

    def due_s(self) -> float | None:
        """Tell in how many seconds there is something that is worth taking; None while nothing waits."""
        ...

    def take(self) -> Work | None:
        """Give the next work, or None when nothing waits."""
        ...

    def is_newer(self) -> bool:
        """Tell whether what waits takes the place of what is being delivered."""
        ...


class Lane:
    """Delivers from a supply in a thread of its own, which the first work starts.

    ``changed`` guards the supply: who puts something into it holds it, and calls ``wake``.
    """

    def __init__(
        self,
        name: str,
        *,
        transport: Transport,
        supply: Supply,
        ledger: Ledger,
        backoff: Backoff,
        timeout_s: float,
    ) -> None:
        self.name, self.ledger = name, ledger
        self.changed = threading.Condition()
        self._transport, self._supply, self._backoff = transport, supply, backoff
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._is_held = self._is_given_up = False

    # ---- what others call -----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Say that there is work; the caller holds ``changed``."""
        if self._thread is None and self._deadline is None and not self._is_held:
            self._start()
        self.changed.notify()

    def _start(self) -> None:
        # A thread that hangs in a resolver must not keep the process.
        thread = threading.Thread(target=self._run, name=f"otlp {self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # No more threads may be (TasksMax=): what comes next tries again.
            problem = f"deliver {self.name} by OTLP: {error}: too many run"
            self.ledger.attempt(latency_s=0.0, cause="no thread", problem=problem)
            return
        self._thread = thread

    def finish_by(self, deadline: float) -> None:
        """Deliver what waits until a moment (of time.monotonic), then end; again is fine."""
        with self.changed:
            if self._deadline is None:
                self._deadline = deadline
            self.changed.notify()

    def hold(self) -> None:
        """Deliver nothing until ``release``."""
        with self.changed:
            self._is_held = True

    def release(self) -> None:
        """Deliver what waits, and what comes."""
        with self.changed:
            self._is_held = False
            # Also where its end has come meanwhile, and it waits for this.
            if self._thread is None and self._supply.due_s() is not None:
                self._start()
            self.changed.notify_all()

    def stop(self) -> None:
        """Make no further attempt; ``wait_for_end`` and ``join`` follow."""
        with self.changed:
            self._deadline = time.monotonic()
            self.changed.notify()

    def give_up(self) -> None:
        """Make no further attempt, end the one that is under way, and wait for a resolver that hangs no longer."""
        self._is_given_up = True
        self.stop()
        self._transport.abort()

    def wait_for_end(self, timeout_s: float) -> None:
        """Let the attempt under way end, for so long at most: then it is given up."""
        thread, deadline = self._thread, time.monotonic() + timeout_s
        if thread is None:
            return
        while thread.is_alive() and not self._is_given_up and (left_s := deadline - time.monotonic()) > 0:
            thread.join(min(left_s, GIVEN_UP_WITHIN_S))
        if thread.is_alive():
            self._transport.abort()
            thread.join(GIVEN_UP_WITHIN_S)

    def join(self) -> None:
        """Wait until it has ended, or its moment has come; then what is left is dropped."""
        assert self._deadline is not None, "finish_by comes first"
        with self.changed:
            self.changed.wait_for(lambda: not self._is_held, max(0.0, self._deadline - time.monotonic()))
        if self._thread is not None:
            self._thread.join(max(0.0, self._deadline - time.monotonic()))
            if self._thread.is_alive():
                self._transport.abort()
                self._thread.join(GIVEN_UP_WITHIN_S)
        self.ledger.close()
        if self._thread is None or not self._thread.is_alive():
            self._transport.close()

    # ---- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._next()) is not None:
            passed = self._deliver_all(work)
            with self.changed:
                # At the end what could not be delivered in time is not tried again; who comes later may.
                is_over = self._deadline is not None and passed < work.items and not self._supply.is_newer()
                work.finish(passed=passed)
            if is_over:
                return

    def _next(self) -> Work | None:
        with self.changed:
            while True:
                due_s = self._supply.due_s()
                if self._deadline is not None:
                    return None if self._left_s() <= 0 else self._supply.take()
                if due_s is not None and due_s <= 0:
                    return self._supply.take()
                self.changed.wait(due_s)

    def _left_s(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _deliver_all(self, work: Work) -> int:
        """Deliver each request until there is something newer, or no time; gives how many items that were."""
        passed = 0
        try:
            for request in work.requests():
                self.ledger.drop(request.too_large, "too large")
                passed += request.too_large
                if request.items and not self._deliver(request):
                    return passed
                passed += request.items
        except Exception as error:  # noqa: BLE001  # whatever cannot be encoded, the next may be
            problem = f"encode {self.name} for OTLP: {type(error).__name__}: {error}"
            self.ledger.attempt(latency_s=0.0, cause="encoding", problem=problem)
            self.ledger.drop(work.items - passed, "encoding")
            return work.items
        return passed

    def _deliver(self, request: Request) -> bool:
        while True:
            left_s = self._left_s()
            if left_s <= 0:
                return False
            begun = time.monotonic()
            outcome = self._transport.send(request.body, timeout_s=min(self._timeout_s, left_s))
            self._account(request, outcome, time.monotonic() - begun)
            if not outcome.cause:
                self._backoff.reset()
                request.delivered()
                return True
            if not outcome.is_retryable:
                # Whether it is the request or the receiver that is wrong, the next need not hurry.
                self.ledger.drop(request.items, outcome.cause)
                return True
            if not self._waited(self._backoff.after_failure_s(outcome.retry_after_s)):
                return False

    def _account(self, request: Request, outcome: Outcome, latency_s: float) -> None:
        where = f"OTLP {self.name} to {self._transport.destination}"
        problem = ""
        if outcome.cause:
            problem = ": ".join(part for part in (where, outcome.cause, outcome.message) if part)
        elif outcome.rejected:
            problem = f"{where}: {outcome.rejected} of {request.items} rejected: {outcome.message or 'no reason given'}"
        self.ledger.attempt(latency_s=latency_s, cause=outcome.cause, problem=problem)
        if not outcome.cause:
            self.ledger.deliver(request.items, rejected=outcome.rejected)

    def _waited(self, seconds: float) -> bool:
        """Wait before the next attempt; False if there is then something newer to attempt, or no time left.

        When the end has come, what the receiver asks for is worth no waiting that leads nowhere.
        """
        until = time.monotonic() + seconds
        with self.changed:
            while (left_s := until - time.monotonic()) > 0:
                if self._deadline is not None and until >= self._deadline:
                    return False
                self.changed.wait(left_s)
            return not self._supply.is_newer()
