"""Shipping beside the training: when what an outbox holds is sent, and what is done where the store is not reached.

Two threads: one for logs, one for blobs, so that numbers need not wait for a large file. The companion's own work never
waits for the network.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from random import SystemRandom

from mlsdk.capture.opened import pass_over_this_thread
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.companion.spawn import HELD
from mlsdk.errors import AccessError, MlsdkError, NewerFormatError, UnavailableError
from mlsdk.store import outbox, posting
from mlsdk.store.shipment import Shipment
from mlsdk.store.trimming import trim

LEAST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
STAY_S = 600.0
"""So long after its last success a companion without runs goes on trying."""

_LOCK_AGAIN_S = 1.0
_TRIM_EVERY_S = 60.0
_SAY_EVERY_S = 1.0


_chance = SystemRandom()
"""Not the generator that the user's program draws from."""


class Backoff:
    """How long to leave a store alone that does not answer: twice as long each time, anywhere below (full jitter)."""

    def __init__(self) -> None:
        self._failures = 0
        self.failing_since: float | None = None
        self.why: str | None = None
        self.hopeless = False
        """Whether trying again will not help by itself."""

    def worked(self) -> None:
        """A call was answered."""
        self._failures, self.failing_since, self.why, self.hopeless = 0, None, None, False

    def failed(self, error: Exception) -> float:
        """A call failed; returns for how many seconds to leave the store alone."""
        self.failing_since = self.failing_since or time.time()
        self.why = redact_text(str(error))[0] or type(error).__name__
        self.hopeless = isinstance(error, (AccessError, NewerFormatError))
        ceiling = min(LONGEST_PAUSE_S, LEAST_PAUSE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        if self.hopeless:
            return LONGEST_PAUSE_S
        asked = error.retry_after_s if isinstance(error, UnavailableError) else None
        return max(_chance.uniform(0.0, ceiling), LEAST_PAUSE_S / 5, asked or 0.0)


class Shipper:
    """Ships one outbox in threads of its own, as long as no other process does.

    Args:
        root: the outbox.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._shipment: Shipment | None = None
        self._backoff, self._blob_backoff = Backoff(), Backoff()
        self._wake, self._blobs_wake = threading.Event(), threading.Event()
        self._stopped = threading.Event()
        self._lock: int | None = None
        self._first = False
        """Whether this is the one that ships."""
        self._succeeded_at = time.monotonic()
        self._trimmed_at = self._said_at = 0.0
        self._trimmed_after = -1
        self._wanted, self._looks = 1, 0
        """Looks that were asked for, and the last of them that was taken."""
        self._threads = [
            threading.Thread(target=self._ship, name="mlsdk-ship", daemon=True),
            threading.Thread(target=self._ship_blobs, name="mlsdk-ship-blobs", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something has ended: do not wait for the next time."""
        self._wanted += 1
        self._wake.set()

    @property
    def looked(self) -> bool:
        """Whether it has tried once."""
        return self._looks > 0

    @property
    def stays(self) -> bool:
        """Whether something is to be shipped, or has ended and was not looked at, and there is hope that it can be."""
        looked = self._looks == self._wanted
        if looked and (not self._first or (self._shipment is not None and not self._shipment.is_behind)):
            return False
        return not self._backoff.hopeless and time.monotonic() - self._succeeded_at < STAY_S

    def stop(self) -> None:
        """Let go; what is under way is done again by the next one."""
        self._stopped.set()
        self._wake.set()
        self._blobs_wake.set()
        for thread in self._threads:
            thread.join(1.0)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _ship(self) -> None:
        pass_over_this_thread()
        with posting.shipping():
            while not self._stopped.is_set():
                pause, wanted = _LOCK_AGAIN_S, self._wanted
                if self._may_ship():
                    pause = self._pass()
                self._looks = wanted
                self._pause(pause)

    def _pause(self, seconds: float) -> None:
        """Wait for the next time, or until something has ended; a store that fails is left alone in any case."""
        if self._backoff.failing_since is None:
            self._wake.wait(seconds)
        else:
            self._stopped.wait(seconds)
        self._wake.clear()

    def _may_ship(self) -> bool:
        """Whether this is the one that ships: companions of several jobs may serve one outbox."""
        if not self._first:
            self._first, self._lock = _locked(os.path.join(self._root, "ship", ".lock"))
        return self._first

    def _pass(self) -> float:
        """Look and send once; how long to pause then."""
        backoff, before = self._backoff, self._sent_bytes
        try:
            told = outbox.settings(self._root)
            pause = told["ship_every_s"]
            shipment = self._shipment = self._shipment or Shipment(self._root)
            shipment.look()
            shipment.send(self._say_meanwhile)
        except Exception as error:  # a store may be anybody's code; what is no error of ours goes to the `.err` file
            if not isinstance(error, MlsdkError):
                sys.stderr.write(redact_text(traceback.format_exc())[0])
            if self._sent_bytes > before:  # it is there, if only now and then
                backoff.worked()
                self._succeeded_at = time.monotonic()
            pause = backoff.failed(error)
        else:
            backoff.worked()
            self._succeeded_at = time.monotonic()
            self._trim(shipment, told["outbox_bytes"])
        if self._shipment is not None and self._shipment.has_blobs:  # also where one log is not taken
            self._blobs_wake.set()
        self._say()
        return pause

    @property
    def _sent_bytes(self) -> int:
        return 0 if self._shipment is None else self._shipment.moved()[1]

    def _say_meanwhile(self) -> None:
        if time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        worst = self._backoff if self._backoff.failing_since else self._blob_backoff
        if self._shipment is not None:
            said = self._shipment.status(worst.why, worst.failing_since)
        else:
            runs = {marker.partition(".")[0] for marker in outbox.markers(self._root)}
            said = outbox.Status(time.time(), worst.failing_since, worst.why, len(runs))
        outbox.write_status(self._root, said)

    def _ship_blobs(self) -> None:
        pass_over_this_thread()
        with posting.shipping():
            while not self._stopped.is_set():
                self._blobs_wake.wait()
                self._blobs_wake.clear()
                shipment = self._shipment
                if self._stopped.is_set() or shipment is None or not shipment.has_blobs:
                    continue
                try:
                    shipment.send_blobs()
                except Exception as error:  # a store may be anybody's code; what is no error of ours goes to `.err`
                    if not isinstance(error, MlsdkError):
                        sys.stderr.write(redact_text(traceback.format_exc())[0])
                    self._wait_for_blobs(error)
                else:
                    self._blob_backoff.worked()
                    self._succeeded_at = time.monotonic()
                    self._wake.set()  # markers may go now

    def _wait_for_blobs(self, error: Exception) -> None:
        until = time.monotonic() + self._blob_backoff.failed(error)
        while time.monotonic() < until and not self._stopped.is_set():
            time.sleep(0.1)
        self._blobs_wake.set()

    def _trim(self, shipment: Shipment, budget: float) -> None:
        now = time.monotonic()
        if shipment.shipped != self._trimmed_after and now - self._trimmed_at > _TRIM_EVERY_S:
            self._trimmed_at, self._trimmed_after = now, shipment.shipped
            with contextlib.suppress(OSError, MlsdkError):  # copies that stay are no loss
                trim(self._root, int(budget))


def ship_here(root: str, seconds: float) -> None:
    """Ship an outbox in this process, because there is no companion; at most so many seconds.

    Where the store was not reached a moment ago, it is not tried again at once.
    """
    shipper = _here.get(root)
    if shipper is None:
        shipper = _here[root] = Shipper(root)
    shipper.wake()
    deadline = time.monotonic() + seconds
    begun = time.monotonic()
    while shipper.stays and time.monotonic() < deadline:
        patience_s = 0.1 if shipper.looked else outbox.GIVE_UP_S  # what was said to fail before may be over
        if outbox.failing_s(root) > outbox.GIVE_UP_S and time.monotonic() - begun > patience_s:
            break
        time.sleep(0.01)
    if not shipper.stays:
        shipper.stop()
        del _here[root]


_here: dict[str, Shipper] = {}


def forget() -> None:
    """In a forked child: the threads are the parent's."""
    _here.clear()


def _locked(path: str) -> tuple[bool, int | None]:
    """A lock on a file: whether no other process holds it, and its descriptor.

    Where there are no locks everybody ships: sending twice is the same as sending once.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except ImportError:
        return True, None
    except OSError:
        return False, None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return error.errno not in HELD, None
    return True, descriptor
