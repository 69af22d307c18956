"""A core dump as a host: the process that it was taken of can be looked at as if it still lived."""

from diag.host.core.host import CoreHost

__all__ = ["CoreHost"]
