"""What is pinned around and inside the training process, and what took effect."""

from harness.determinism.hardware import differences, fingerprint, host
from harness.determinism.profile import bootstrap_path, environment, override
from harness.determinism.reports import read

__all__ = [
    "bootstrap_path",
    "differences",
    "environment",
    "fingerprint",
    "host",
    "override",
    "read",
]
