"""Messages to channels: each tried a bounded number of times, all channels side by side, none waited for for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respaldo.errors import NotificationError
from respaldo.language import _
from respaldo.notify.channel import Channel, redact_error
from respaldo.notify.notice import Message

ATTEMPTS = 3
BUDGET_S = 60.0
"""What a backup that is done waits for its messages at most; three attempts of ten seconds and the pauses fit."""
_PAUSES_S = (1.0, 4.0)
_REFUSED_IN_A_ROW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What came of one message on one channel. ``error`` None: it was taken by all that it is for."""

    channel: str
    message: Message
    attempts: int
    seconds: float
    error: NotificationError | None = None

    @property
    def is_over(self) -> bool:
        """Whether the message is not to be sent again: somebody has it."""
        return self.error is None or self.error.is_partial


def deliver(
    work: Mapping[str, Sequence[Message]],
    channels: Mapping[str, Channel],
    *,
    attempts: int = ATTEMPTS,
    budget_s: float = BUDGET_S,
    pause: Callable[[float], None] = time.sleep,
) -> list[Delivery]:
    """Send each channel its messages in order, and return what came of each.

    ``work`` by the channel's name. The first message that a channel cannot take now is its last: the rest would arrive
    out of order. One that it refuses for good does not keep the next, but two in a row do: then it takes none. What is
    still under way after ``budget_s`` counts as not delivered.
    """
    found: dict[str, list[Delivery]] = {name: [] for name in work}
    # Of all channels: what a library logs of one may be read by the thread of another.
    secrets = [secret for channel in channels.values() for secret in channel.secrets]
    threads = []
    for name, messages in work.items():
        arguments = (channels[name], messages, found[name], attempts, pause, secrets)
        # A thread that a server holds must not hold the program's end too.
        thread = threading.Thread(target=_send_all, args=arguments, name=f"notify {name}", daemon=True)
        thread.start()
        threads.append(thread)
    deadline_s = time.monotonic() + budget_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return [
        delivery for name, messages in work.items() for delivery in _complete(name, messages, found[name], budget_s)
    ]


def _complete(name: str, messages: Sequence[Message], found: list[Delivery], budget_s: float) -> list[Delivery]:
    """Return a delivery for each message: those that the thread did not come to failed too."""
    done = list(found)
    error = done[-1].error if done and not done[-1].is_over else None
    if error is None:
        error = NotificationError(_("nothing came of it in {seconds} s").format(seconds=round(budget_s)))
    rest = messages[len(done) :]
    return done + [Delivery(channel=name, message=one, attempts=0, seconds=0.0, error=error) for one in rest]


def _send_all(
    channel: Channel,
    messages: Sequence[Message],
    found: list[Delivery],
    attempts: int,
    pause: Callable[[float], None],
    secrets: Sequence[str],
) -> None:
    refused = 0
    for message in messages:
        delivery = _send(channel, message, attempts, pause, secrets)
        found.append(delivery)
        refused = 0 if delivery.is_over else refused + 1
        if refused == _REFUSED_IN_A_ROW or (delivery.error is not None and delivery.error.is_temporary):
            return


def _send(
    channel: Channel, message: Message, attempts: int, pause: Callable[[float], None], secrets: Sequence[str]
) -> Delivery:
    begun_s = time.monotonic()
    error: NotificationError | None = None
    number = 0
    while number < attempts:
        number += 1
        try:
            channel.send(message)
            error = None
            break
        except NotificationError as failure:
            error = redact_error(failure, secrets)
        except Exception as failure:  # noqa: BLE001 - a thread that dies tells nothing of it
            # A library's own error that no channel foresaw; its words could hold anything.
            error = NotificationError(
                _("{channel} failed: {reason}").format(channel=channel.name, reason=type(failure).__name__)
            )
        if not error.is_temporary:
            break
        if number < attempts:
            pause(_PAUSES_S[min(number, len(_PAUSES_S)) - 1])
    seconds = time.monotonic() - begun_s
    return Delivery(channel=channel.name, message=message, attempts=number, seconds=seconds, error=error)
