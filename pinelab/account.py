"""Which operating system user the embedded servers run as: never root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """A user that a server may run as, and whether that means giving up root first."""

    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    def reaches(self, directory: Path) -> bool:
        """Whether this user can enter ``directory``: one closed parent is enough to say no."""
        if not self.is_other:
            return True
        entered = subprocess.run(  # noqa: S603 (a fixed command; the path is its argument)
            ["/bin/sh", "-c", 'cd "$0"', str(directory)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return entered.returncode == 0

    def take(self, path: Path) -> None:
        """Give ``path`` and all that is in it to this user."""
        if not self.is_other:
            return
        for parent, directories, files in os.walk(path):
            for name in [*directories, *files]:
                os.lchown(Path(parent, name), self.uid, self.gid)
        os.chown(path, self.uid, self.gid)


def for_servers(existing: Path) -> Account:
    """Who runs the servers: ourselves, or, where that is root, the data's owner or nobody.

    Args:
        existing: the data directory of an earlier start, if there is one.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    owner = existing.stat() if existing.exists() else None
    if owner and owner.st_uid != 0 and has_name(owner.st_uid):
        return Account(owner.st_uid, owner.st_gid)
    return Account(NOBODY, NOBODY)


def has_name(uid: int) -> bool:
    # PostgreSQL refuses to run as a user without a line in the password file.
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
