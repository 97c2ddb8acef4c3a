"""``python -m portable``, as ``portable.command`` says."""

import io
import os
import signal
import sys


def main() -> int:
    """What the command gives; it may be stopped while all is being imported, too."""
    signal.signal(signal.SIGINT, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may be more than it can show
        sys.stdout.reconfigure(errors="backslashreplace")
    from portable import command

    return command.main()


def _stop(*_: object) -> None:
    """Ends at once: nothing is begun that would have to be ended."""
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
