"""Keeping what is known of a shared log fresh, so that asking for it costs no call of the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlsdk.errors import MlsdkError, StoreError, UnavailableError

FRESH_S = 1.0
"""What is known may be so old without another look: a revoked token stops everywhere within this time."""

KEPT_S = 60.0
"""While the store cannot be read, what is known is good for so long; then nobody is answered."""

_LOOK_S = 0.5
_SHORT_PAUSE_S = 0.1
_IDLE_S = 30.0
"""Nobody asked for so long: the thread ends, until somebody does."""


class Follower:
    """Looks twice a second, or sooner if it must, in a thread of its own, for as long as somebody asks.

    Args:
        read: reads what is new; called by any thread.
    """

    def __init__(self, read: Callable[[], None]) -> None:
        self._read = read
        self._changed = threading.Condition()
        """Guards what follows; told after each look."""
        self._looked_at = self._tried_at = self._asked_at = -10 * KEPT_S
        self._error: MlsdkError | None = None
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        thread = self._thread
        if thread is not None:
            thread.join(5)

    def fresh(self) -> bool:
        """Whether whoever asks now is answered from memory; if not, it may take a second."""
        return time.monotonic() - self._looked_at < 0.9 * FRESH_S

    def keep_on(self) -> bool:
        """Go on looking, without waiting for it; whether what is known is not too old."""
        now = self._asked_at = time.monotonic()
        if self._thread is None:
            with self._changed:
                self._start()
        return now - self._looked_at <= KEPT_S

    def see_to(self) -> None:
        """See to it that what is known is fresh; while the store cannot be read, that it is not too old.

        Raises:
            UnavailableError: it could not be read for a minute.
            StoreError: the log is damaged.
        """
        now = time.monotonic()
        self._asked_at = now
        if now - self._looked_at > FRESH_S:
            self._wait(now)

    def see_to_now(self) -> None:
        """Wait for a look that begins from now on, at most some tenths of a second: what is known may be too old.

        Any number of callers share one look, and there are no more than ten of them a second.
        """
        now = time.monotonic()
        with self._changed:
            if self._error is None:
                self._start()
                self._changed.wait_for(lambda: self._tried_at >= now, FRESH_S / 2)

    def _start(self) -> None:
        """Have the thread look; the caller holds the condition."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="mlsdk-follower", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _wait(self, now: float) -> None:
        """Have the thread look; go on with what is known if that takes long or fails."""
        with self._changed:
            self._start()
            failing = self._error is not None and now - self._looked_at <= KEPT_S
            if not failing and not self._changed.wait_for(lambda: self._tried_at >= now, FRESH_S):
                self._error = self._error or UnavailableError("the store is slow")
            if time.monotonic() - self._looked_at <= KEPT_S:
                return
            error = self._error
        if error is not None and not isinstance(error, UnavailableError):
            raise StoreError(f"who may do what cannot be read: {error}") from error
        raise UnavailableError(f"who may do what cannot be read at present: {error}", 1.0)

    def _look_on(self) -> None:
        """What the thread does, until nobody has asked for a while."""
        while True:
            self._wanted.clear()
            try:
                self.look()
            except Exception:  # kept in `_error`, for those who ask; the thread has to go on
                pass
            time.sleep(_SHORT_PAUSE_S)
            self._wanted.wait(_LOOK_S - _SHORT_PAUSE_S)
            with self._changed:
                if self._closed or time.monotonic() - self._asked_at > _IDLE_S:
                    self._thread = None
                    return

    def look(self) -> None:
        """Read what others have written."""
        begun = time.monotonic()
        error: MlsdkError | None = None
        try:
            self._read()
        except MlsdkError as found:
            error = found
            raise
        except Exception as found:  # a store that lets a foreign error through: nobody is let in for it
            error = StoreError(f"the store cannot be read: {type(found).__name__}")
            raise error from found
        finally:
            with self._changed:
                self._error = error
                self._tried_at = begun
                if error is None:
                    self._looked_at = begun
                self._changed.notify_all()
