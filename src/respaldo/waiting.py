"""Waits that an interrupt or a signal ends, whenever it comes."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue

# A signal ends no wait that has not quite begun, nor one whose thread it did not come to.
_HEEDS_S = 0.5


def wait_for_word(words: SimpleQueue[None], seconds: float = _HEEDS_S) -> None:
    """Return once there is a word, which is taken, and soon without one too: what was waited for is to be asked again.

    No lock in Python is taken, here or by who says the word: an interrupt, or a second signal, may come at any moment,
    and who waits for a lock that the interrupted holds waits for ever.
    """
    with suppress(Empty):
        words.get(timeout=min(seconds, _HEEDS_S))
