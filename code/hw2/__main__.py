"""``python -m hw2``, as ``hw2.commands`` says."""

import os
import signal
import sys
from typing import NoReturn

STOPPED = 130  # the exit status of what was stopped by Ctrl-C


def main() -> int:
    """What the command gives; it may be stopped while all is being imported, too."""
    signal.signal(signal.SIGINT, _stop)
    # A bar is drawn anew once a second, or once a minute where it is kept in a file.
    for name in ("TQDM_MININTERVAL", "TQDM_MAXINTERVAL"):
        os.environ.setdefault(name, "1" if sys.stderr.isatty() else "60")
    from hw2 import commands

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return commands.main()
    except KeyboardInterrupt:
        print("\nstopped; record goes on from its last checkpoint", file=sys.stderr)
        return STOPPED


def leave(status: int) -> NoReturn:
    """Ends; at once where it was stopped: to take PyTorch apart takes seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped
    if status == STOPPED:
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _stop(*_: object) -> None:
    """Ends at once: nothing is begun that would have to be ended."""
    os.write(2, b"stopped\n")
    os._exit(STOPPED)


if __name__ == "__main__":
    leave(main())
