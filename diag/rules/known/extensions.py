"""Extensions and programs that are known to release references they only borrowed, up to some version."""

from __future__ import annotations

from typing import NamedTuple


class Faulty(NamedTuple):
    """One known fault. Patterns are regular expressions that fit the whole of what they are for."""

    name: str
    library: str  # of the base name of the file
    fixed: tuple[int, ...]  # the first version without it
    cause: str  # what it does, after "known: "; {version} stands for the version that was found
    fix: str
    reference: str  # "owner/repository#issue"
    functions: str  # of its own, in which only who uses the faulty part is
    options: str | None = None  # on the command line of who uses that part
    part: str = ""  # the faulty part, as in "this one has a spooler"


ENTRIES = (
    Faulty(
        name="uwsgi-spooler",
        library=r"uwsgi",
        fixed=(2, 0, 18),
        cause="uwsgi.spool() of uWSGI {version} releases the items of its argument, which it has only "
        "borrowed",
        fix="update uWSGI",
        reference="unbit/uwsgi#1852",
        functions=r"\w*spool\w*",
        options=r"--spooler(?:=.*)?|-Q",
        part="a spooler",
    ),
)
