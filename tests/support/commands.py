"""The installed command in a process of its own, to be watched, killed and interrupted."""

import signal
import subprocess
import sys
from pathlib import Path

HARNESS = [str(Path(sys.executable).with_name("harness"))]


def start(*words):
    return subprocess.Popen(
        [*HARNESS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs tests in the background lets them ignore the interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
