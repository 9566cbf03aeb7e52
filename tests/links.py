"""Check that every relative link in the documents leads to a file and a heading that exist."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def main() -> int:
    broken = [fault for document in documents() for fault in faults(document)]
    sys.stdout.writelines(f"{fault}\n" for fault in broken)
    return 1 if broken else 0


def documents() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("docs", "deploy"):
        yield from sorted((ROOT / folder).rglob("*.md"))


def faults(document: Path) -> Iterator[str]:
    """One line for each link of ``document`` that leads nowhere."""
    for match in LINK.finditer(prose(document)):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        address, _, anchor = unquote(link).partition("#")
        target = (document.parent / address).resolve() if address else document
        if not target.exists():
            yield f"{document.relative_to(ROOT)}: {link} does not exist"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{document.relative_to(ROOT)}: {link} names no heading"


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """The names of its headings, as the usual viewers make them."""
    names = (
        re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(document))
    )
    return {name.replace(" ", "-") for name in names}


if __name__ == "__main__":
    sys.exit(main())
