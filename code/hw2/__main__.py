"""``python -m hw2``, as ``hw2.commands`` says."""

import os
import signal
import sys


def main() -> int:
    """What the command gives; it may be stopped while all is being imported, too."""
    signal.signal(signal.SIGINT, _stop)
    from hw2 import commands

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return commands.main()
    except KeyboardInterrupt:
        print("\nstopped; record goes on from its last checkpoint", file=sys.stderr)
        return 130


def _stop(*_: object) -> None:
    """Ends at once: nothing is begun that would have to be ended."""
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
