"""ELF files: which function and line an address of a program, library or core belongs to.

``Image.open(host, path)`` reads headers, sections and the build id; ``Code(host, image).at(address)``
names function and line. Their bytes are nobody's word: everything is read within limits, and damage
raises ``MalformedError``, never anything else.
"""

from diag.collectors.elf.code import Code, Found
from diag.collectors.elf.image import Image

__all__ = ["Code", "Found", "Image"]
