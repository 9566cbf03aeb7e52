"""What stops a start, as one sentence for the person at the terminal."""

import errno
from pathlib import Path


class CannotStart(Exception):
    """The service cannot start here; the message says why and what to do about it."""


def refusal(error: OSError, path: Path) -> CannotStart:
    """Turn what the file system said about ``path`` into a sentence that says what to do."""
    place = Path(error.filename) if isinstance(error.filename, str) else path
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return CannotStart(
                f"The disk that holds {path} is full: free some space there, "
                f"or choose another place with PINELAB_VAR."
            )
        case errno.EROFS:
            return CannotStart(
                f"{place} is on a read-only file system: choose another place with PINELAB_VAR."
            )
        case errno.EACCES | errno.EPERM:
            return CannotStart(
                f"{place} cannot be written by this user: give this user the directory "
                f"(chown -R), or choose another place with PINELAB_VAR."
            )
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            return CannotStart(
                f"{place} is not what PineLab left there (a file where a directory belongs, or the "
                f"reverse): move it away, or choose another place with PINELAB_VAR."
            )
    reason = error.strerror or str(error)
    return CannotStart(
        f"{place} cannot be used ({reason}): repair it, or choose another place with PINELAB_VAR."
    )
