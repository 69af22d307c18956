"""Looks in a core for traces of what was at work before the fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import library_uses, past_calls
from diag.collectors.native_names import Names
from diag.collectors.pyobjects.image import version_named
from diag.collectors.pyobjects.memory import Memory
from diag.model.damage import Caller, Damage, Freed
from diag.rules import core_code
from diag.rules.known import extensions
from diag.waits.lock_sites.places import is_stdlib

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.called import Origin, Origins, Site
    from diag.host import CoreView, WrongLink
    from diag.model.core import CoreImage

MOST_LIBRARIES = 64
"""Files whose tables are read; measured: 2 ms each."""


def collect(view: CoreView, image: CoreImage, maps: Sequence[Mapping]) -> Damage | None:
    """Look at each third-party library of a process that runs Python; None where none runs."""
    if not any(core_code.is_interpreter_file(module.path) for module in image.modules):
        return None
    code = [one for one in maps if "x" in one.access and one.path]
    places = past_calls.Places(
        libraries=tuple((one.start, one.end, one.path) for one in code if core_code.is_extension(one.path)),
        interpreter=tuple((one.start, one.end) for one in code if core_code.is_interpreter_file(one.path)),
    )
    readable = [one.path for one in image.modules if one.executable and one.now in ("same", "unknown")]
    asked = [path for path in dict.fromkeys(readable) if core_code.is_extension(path)][:MOST_LIBRARIES]
    memory = Memory(view, image.pid)
    versions = [entry.told for entry in extensions.ENTRIES]
    return Damage(
        python=version_named(maps),
        past=tuple(past_calls.collect(view, image, memory, maps, places, Names.of(view, image))),
        uses=tuple(found for path in asked if (found := library_uses.collect(view, path, versions))),
    )


def traced(view: CoreView, objects: PyObjects, damage: Damage, tid: int, *, deeply: bool) -> Damage:
    """Add what was freed too early, and who calls which library; ``tid``: the thread that died.

    What variables lead to is looked at first: it takes the least time, and tells most. ``deeply``: also at
    more of it, and at all free blocks.
    """
    from diag.collectors.pyobjects import called, free_lists, reached  # noqa: PLC0415 - load only when used

    origins = called.Origins(objects)
    idents = {one.tls: one.tid for one in view.image().threads if one.tls}
    sites = sorted(called.sites(objects, idents), key=lambda site: site.tid != tid)
    variables = list(_variables(origins, sites))
    most = reached.MOST if deeply else reached.FEW
    freed = tuple(reached.freed(objects, [(one.words, one.address) for one in variables], most))
    callers = tuple(_callers(origins, sites, {one.where.partition(",")[0] for one in freed}, variables))
    if deeply and not freed:
        freed = tuple(_of_block(one) for one in view.free_blocks().found)[: free_lists.MOST]
    if deeply and not freed:
        freed = tuple(free_lists.check(objects))
    return replace(damage, freed=freed, callers=callers)


class _Variable(NamedTuple):
    words: str
    address: int
    users: tuple[Site, ...]  # code at work that names it
    namespace: int  # of a global one
    name: str


def _variables(origins: Origins, sites: Sequence[Site]) -> Iterator[_Variable]:
    """Yield each variable: those of functions at work, then those of the program's own modules."""
    for site in sites:
        for name, address in site.locals:
            yield _Variable(f"the variable {name} of {site.words}", address, (site,), 0, name)
    for namespace in dict.fromkeys(site.globals for site in sites if not is_stdlib(site.file)):
        file = next(site.file for site in sites if site.globals == namespace)
        for name, address in origins.variables(namespace).items():
            own = [site for site in sites if site.globals == namespace]
            users = [site for site in own if origins.names(site.code, name)]
            words = f"the variable {name} of {file.rpartition('/')[2]}"
            yield _Variable(words, address, tuple(users), namespace, name)


def _callers(
    origins: Origins, sites: Sequence[Site], freed: Collection[str], variables: Sequence[_Variable]
) -> Iterator[Caller]:
    """Yield which libraries the code calls whose variables lead to what was freed, then all code at work."""
    for one in variables:
        if one.words in freed:
            for site in one.users:
                yield from _of_code(site.words, origins.of(site.code, site.globals), has_freed=True)
            for function, found in origins.users(one.namespace, one.name) if one.namespace else ():
                yield from _of_code(function, found, has_freed=True)
    for site in sites:
        yield from _of_code(site.words, origins.of(site.code, site.globals))


def _of_code(place: str, found: Iterable[Origin], *, has_freed: bool = False) -> Iterator[Caller]:
    libraries: dict[str, list[str]] = {}
    for one in found:
        if core_code.is_extension(one.library):
            libraries.setdefault(one.library, []).append(one.name)
    for library, names in libraries.items():
        yield Caller(library=library, place=place, names=tuple(sorted(names)), has_freed=has_freed)


def _of_block(link: WrongLink) -> Freed:
    """Say what is wrong with a free block: whoever counts references to what was there moves its link."""
    where = f"the free blocks of {link.size} bytes"
    if link.why == "twice":
        text = "the same block is among them twice: it was freed twice"
        return Freed(where=where, address=link.link, text=text)
    text = f"the free block leads to {link.link:#x}, which is none: it was written to after it was freed"
    return Freed(where=where, address=link.block, text=text, proves=False)
