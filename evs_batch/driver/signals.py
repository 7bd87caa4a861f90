"""SIGINT and SIGTERM as requests to stop."""

import signal

from evs_batch.runtime.loop import Loop


class StopSignals:
    """Within this block SIGINT and SIGTERM ask the loop to stop; a second one ends it as usual."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._before = loop, {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self._loop.stop_signal = signal.Signals(number)
        signal.signal(number, self._before[number])
