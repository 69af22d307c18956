"""Locks inside one Python process: which one a thread wants, which ones its frames hold. Pure."""

from diag.waits.python_locks.held import Held, freed_by, held_by, last_word
from diag.waits.python_locks.names import Name, name_of
from diag.waits.python_locks.wanted import Primitive, Wanted, wanted

__all__ = ["Held", "Name", "Primitive", "Wanted", "freed_by", "held_by", "last_word", "name_of", "wanted"]
