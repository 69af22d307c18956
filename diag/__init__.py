"""diag tells why a Linux service is stuck or crashing, from outside, with its evidence."""

__version__ = "0.1.0"
