#!/usr/bin/env python
"""Django's own entry; `manage.py up` runs the whole service before Django is loaded."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")
    if sys.argv[1:2] == ["up"]:
        from pinelab import up

        return up.main(sys.argv[2:])

    from pinelab import running

    if "DATABASE_URL" not in os.environ:
        # Beside a running service, its stores; else just enough for settings to load.
        os.environ |= running.environment()

    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except OperationalError:
        if os.environ["DATABASE_URL"] != running.NOWHERE["DATABASE_URL"]:
            raise
        sys.stderr.write(f"{running.ADVICE}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
