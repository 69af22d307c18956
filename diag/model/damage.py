"""What a core shows of code that was at work before the fault."""

from __future__ import annotations

from typing import NamedTuple

from diag.model.facts import Fact


class PastCall(Fact, frozen=True, kw_only=True):
    """A call that had returned, whose return address was still left on the dead part of a stack."""

    tid: int
    library: str  # path of the file whose code had made the call
    function: str  # "?": no table names it
    by_python: bool  # the interpreter had called that function


class VersionText(NamedTuple):
    """How the version of a program stands among the texts of its file."""

    library: str  # regular expression that fits the whole base name of the file
    beside: bytes  # another text of the same section, by which it is known to be that program
    version: bytes  # regular expression of the version, a text of its own


class Caller(Fact, frozen=True, kw_only=True):
    """Python code at work that calls a library, by the names in its byte code."""

    library: str  # path
    place: str  # the code, in words: "handle (svc.py:20)"
    names: tuple[str, ...]  # as that code names it: "jobqueue.spool"
    has_freed: bool = False  # a variable of that code leads to an object that was freed too early


class LibraryUse(Fact, frozen=True, kw_only=True):
    """What a library has to do with Python, by the names that it asks the dynamic linker for."""

    library: str  # path
    python: bool  # it uses Python's C interface at all
    lets_go: tuple[str, ...] = ()  # functions with which it lets go of the interpreter lock
    borrows: tuple[str, ...] = ()  # functions that give it references which are not its own
    version: str = ""  # where its own texts tell
    packaged: bool = True  # it lies among installed packages, or belongs to the system
    made_by: str = ""  # generator of its C code, which counts references itself: "Cython"


class Freed(Fact, frozen=True, kw_only=True):
    """Memory of Python objects that was freed while somebody still had it, or was freed twice."""

    where: str  # what shows it, in words: "free list of tuples of 3 items"
    address: int
    text: str  # what cannot be true there
    proves: bool = True  # nothing but a reference released too often, or kept without a count, makes it so


class Damage(Fact, frozen=True, kw_only=True):
    """Traces of what was at work before."""

    python: tuple[int, int] | None = None  # version; None: not known
    past: tuple[PastCall, ...] = ()  # of each thread the most recent first
    uses: tuple[LibraryUse, ...] = ()
    freed: tuple[Freed, ...] = ()
    callers: tuple[Caller, ...] = ()

    def use(self, library: str) -> LibraryUse | None:
        """What one library has to do with Python; None where it was not looked at or not readable."""
        return next((one for one in self.uses if one.library == library), None)

    def past_of(self, library: str) -> tuple[PastCall, ...]:
        """The past calls of one library."""
        return tuple(one for one in self.past if one.library == library)
