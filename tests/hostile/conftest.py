"""A process for what may crash."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from evs_batch.runtime.actors import limit_data
from tests.hostile.child import MEMORY_BYTES


@pytest.fixture(scope="module")
def child() -> Iterator[ProcessPoolExecutor]:
    """One process for all: who crashes it is found out."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=limit_data, initargs=(MEMORY_BYTES,)) as pool:
        yield pool
