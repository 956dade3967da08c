"""What the program starts: `python -m waypost.mover SOCKET PARENT`, never called by hand."""

from __future__ import annotations

import signal
import socket
import sys

from waypost.mover.wire import IGNORED, Line


def main() -> None:
    """Serve the parent until it goes."""
    for number in IGNORED:  # the parent has blocked them in here, so none has come through
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    descriptor, parent = map(int, sys.argv[1:])

    from waypost.mover.serving import serve

    serve(Line(socket.socket(fileno=descriptor)), parent)


if __name__ == "__main__":
    main()
