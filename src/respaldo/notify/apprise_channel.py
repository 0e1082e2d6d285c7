"""Whatever else people use, through Apprise: Telegram, ntfy, Discord, Teams and a hundred others. An optional extra."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from respaldo.errors import NotificationError
from respaldo.language import _
from respaldo.notify.channel import secrets_of_url
from respaldo.notify.notice import Kind, Message

_TYPES = {
    Kind.SUCCESS: "success",
    Kind.RECOVERY: "success",
    Kind.FAILURE: "failure",
    Kind.OVERDUE: "failure",
    Kind.WARNING: "warning",
    Kind.TEST: "info",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseChannel:
    """One Apprise URL. Its name is the URL's scheme; all the rest of it may be secret."""

    url: str = field(repr=False)
    number: int = 1

    @property
    def name(self) -> str:
        scheme = self.url.partition("://")[0]
        return f"{scheme[:20] if scheme.isalnum() else 'apprise'}-{self.number}"

    @property
    def secrets(self) -> Sequence[str]:
        return secrets_of_url(self.url)

    def send(self, message: Message) -> None:
        apprise = _library()
        service = apprise.Apprise()
        log = StringIO()
        reader = logging.StreamHandler(log)
        logger = logging.getLogger("apprise")
        logger.addHandler(reader)
        level, propagates = logger.level, logger.propagate
        # Its words go into our error, where secrets are taken out, and nowhere else.
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        try:
            is_known = service.add(self.url)
            is_sent = is_known and service.notify(
                title=message.subject, body=message.body, notify_type=_TYPES[message.kind]
            )
        except Exception as error:  # noqa: BLE001 - a hundred plugins of others raise what they like
            raise NotificationError(
                _("Apprise failed: {reason}").format(reason=type(error).__name__), is_temporary=True
            ) from None
        finally:
            logger.removeHandler(reader)
            logger.setLevel(level)
            logger.propagate = propagates
        if not is_known:
            raise NotificationError(
                _("Apprise does not know this URL"), hint=_("https://github.com/caronc/apprise lists what it knows")
            )
        if not is_sent:
            reason = log.getvalue().strip() or _("it gave no reason")
            raise NotificationError(_("Apprise failed: {reason}").format(reason=reason), is_temporary=True)


def _library() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError as error:
        raise NotificationError(
            _("Apprise is not installed"), hint=_("pip install apprise, beside respaldo")
        ) from error
