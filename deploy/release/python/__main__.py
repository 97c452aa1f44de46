"""Runs the executable of this package in place of Python."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    windows = os.name == "nt"
    executable = Path(__file__).with_name("channel.exe" if windows else "channel")
    command = [str(executable), *sys.argv[1:]]
    try:
        if not windows:
            os.execv(executable, command)
        # Windows replaces no process. Ctrl-C reaches the executable too, which ends by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(subprocess.call(command))
    except OSError as error:
        sys.exit(f"channel: {executable} does not start: {error.strerror}. Is this the wheel of your platform?")


if __name__ == "__main__":
    main()
