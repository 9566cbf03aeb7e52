"""Mail without a mail server: shown on the console, kept as files."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from apps.core.ids import uuid7

LINK = re.compile(r"https?://\S+")
RULE = "-" * 60


class ConsoleAndFileBackend(BaseEmailBackend):
    """Print to whom, what about and the links; write each mail to ``EMAIL_FILE_PATH``."""

    def __init__(self, fail_silently: bool = False, **kwargs: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self.folder = Path(kwargs.get("file_path") or settings.EMAIL_FILE_PATH)
        self.stream = kwargs.get("stream") or sys.stdout

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            path = self._keep(message)
            self._show(message, path)
        return len(email_messages)

    def _keep(self, message: EmailMessage) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Named by time, so that a listing shows them in order; never over another one.
        path = self.folder / f"{uuid7().hex}.eml"
        with path.open("xb") as file:
            file.write(message.message().as_bytes())
        return path

    def _show(self, message: EmailMessage, path: Path) -> None:
        lines = [
            RULE,
            f"Mail to {', '.join(message.recipients())}: {message.subject}",
            *(f"  {link}" for link in LINK.findall(str(message.body))),
            f"  kept in {path}",
            RULE,
        ]
        self.stream.write("\n".join(lines) + "\n")
        self.stream.flush()
