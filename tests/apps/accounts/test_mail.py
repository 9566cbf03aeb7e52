from email import message_from_bytes
from io import StringIO
from pathlib import Path

from django.core.mail import EmailMessage

from apps.accounts.mail import ConsoleAndFileBackend

LINK = "http://localhost:8000/account/confirm-email/abc/"


def send(folder: Path, count: int = 1) -> str:
    console = StringIO()
    backend = ConsoleAndFileBackend(file_path=str(folder), stream=console)
    sent = backend.send_messages(
        [
            EmailMessage("Confirm your address", f"Grüße\n\n{LINK}\n", to=["dora@example.com"])
            for _ in range(count)
        ]
    )
    assert sent == count
    return console.getvalue()


def test_the_console_shows_to_whom_and_the_link(tmp_path: Path) -> None:
    shown = send(tmp_path)

    assert "dora@example.com: Confirm your address" in shown
    assert LINK in shown
    assert "Grüße" not in shown


def test_the_file_is_the_whole_mail(tmp_path: Path) -> None:
    send(tmp_path)

    (path,) = tmp_path.glob("*.eml")
    mail = message_from_bytes(path.read_bytes())
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert mail["To"] == "dora@example.com"
    assert body.decode() == f"Grüße\n\n{LINK}\n"


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    send(tmp_path / "var" / "mail")

    assert len(list((tmp_path / "var" / "mail").glob("*.eml"))) == 1


def test_mails_of_the_same_moment_do_not_replace_each_other(tmp_path: Path) -> None:
    send(tmp_path, count=50)

    assert len(list(tmp_path.glob("*.eml"))) == 50
