"""Stop the children of a supervisor that was killed before it could do so itself.

A script of its own, beside the supervisor: it reads from a pipe which process groups there are
(`+ STAGE SIGNAL GRACE GROUP`, `- GROUP`). The pipe ends when the supervisor does, however it
ends; what is still known then is stopped, the higher stages first.
"""

import os
import sys
import time
from itertools import groupby


def main() -> None:
    known: dict[int, tuple[int, int, float]] = {}
    for line in sys.stdin:
        sign, *words = line.split()
        if sign == "+":
            known[int(words[3])] = (int(words[0]), int(words[1]), float(words[2]))
        else:
            known.pop(int(words[0]), None)
    order = sorted(known.items(), key=lambda entry: -entry[1][0])
    for _, stage in groupby(order, key=lambda entry: entry[1][0]):
        stop(dict(stage))


def stop(stage: dict[int, tuple[int, int, float]]) -> None:
    for group, (_, number, _) in stage.items():
        send(group, number, to_group=False)
    deadline = time.monotonic() + max(grace for _, _, grace in stage.values())
    while any(send(group, 0) for group in stage) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in stage:
        send(group, 9)


def send(group: int, number: int, *, to_group: bool = True) -> bool:
    """Send a signal to a whole group or to its leader; False where there is none left."""
    try:
        os.kill(-group if to_group else group, number)
    except ProcessLookupError:
        return False
    return True


main()
