"""SIGINT and SIGTERM as requests to stop."""

import signal
import threading
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Within this block the first signal is remembered in `received`; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "StopSignals":
        self.install()
        return self

    def install(self) -> None:
        """Take the signals; again after whatever took them away, as Ray does when it starts."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                before = signal.signal(number, self._stop)
                self._before.setdefault(number, before)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise SystemExit(128 + number)
        self.received = signal.Signals(number)
