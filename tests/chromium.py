"""Print the path of a Chromium for the browser tests; print nothing where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    found = os.environ.get("PINELAB_CHROMIUM") or find() or install()
    if found:
        sys.stdout.write(f"{found}\n")
    else:
        sys.stderr.write(
            "No Chromium was found, so the browser tests are skipped: install one "
            "(on Debian: apt-get install chromium), or name it in PINELAB_CHROMIUM.\n"
        )


def find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> str | None:
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return None
    sys.stderr.write("Installing Chromium for the browser tests ...\n")
    # Without an index of packages the first try fails, and the index is fetched.
    for preparation in ([], ["apt-get", "update", "-qq"]):
        if preparation:
            run(preparation)
        if run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            return find()
    return None


def run(command: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)  # noqa: S603
    return done.returncode == 0


if __name__ == "__main__":
    main()
