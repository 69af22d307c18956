"""Extensions and programs that are known to release references they only borrowed, up to some version."""

from __future__ import annotations

from typing import NamedTuple

from diag.model.damage import VersionText


class Faulty(NamedTuple):
    """One known fault. Patterns are regular expressions that fit the whole of what they are for."""

    name: str
    told: VersionText  # which files these are, and how the version stands in them
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
        # Texts of other libraries' headers are there too, such as zlib's 1.2.13: uWSGI is at 2.0 since 2013.
        told=VersionText(
            library=r"(?:py)?uwsgi(?:-core)?(?:\..*)?",  # Debian's, and the package pyuwsgi, too
            beside=b"*** Starting uWSGI %s (",
            version=rb"2\.0(?:\.\d+){0,2}(?:-?[a-z]\w{0,20})?",
        ),
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
