"""Whether a thread asks for a lock that one of its own outer frames holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Where
from diag.model.source import Retaken, Sure
from diag.waits.lock_sites.asker import origin
from diag.waits.lock_sites.asking import asking
from diag.waits.lock_sites.expressions import resolve
from diag.waits.lock_sites.held import enclosing, held
from diag.waits.lock_sites.named import text_value
from diag.waits.lock_sites.syntax import locate, within
from diag.waits.lock_sites.words import identifiers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.model.facts import Frame, Local, Stack
    from diag.model.source import Ask, Site, Source

_FILE_LOCKS = re.compile(r"flock|lockf|file_?lock|lock_?file|process_?lock|LOCK_EX|LOCK_SH", re.IGNORECASE)
_ORDER = (Sure.MEMORY, Sure.SOURCE, Sure.PATTERN)


def retaken(
    stack: Stack, sources: Mapping[str, Source], path: str | None = None, *, blocked: bool = False
) -> Retaken | None:
    """Find the outer frame of the same thread that holds what the inner frames ask for.

    ``path``: the file whose lock is asked for, where the kernel named it. ``Sure.MEMORY`` needs the same
    object or the same path in memory on both sides; ``Sure.SOURCE`` the same expression; a merely
    similar lock is ``Sure.PATTERN``. ``blocked``: as for ``asking``.
    """
    ask = asking(stack, sources, blocked=blocked)
    if ask is None:
        return None
    found = [
        Retaken(site=site, ask=ask, outer=n, sure=site.sure if site.sure is Sure.PATTERN else sure, why=why)
        for n, site in _outer_sites(stack, sources, ask)
        for sure, why in [_same(site, stack.frames[n], ask, stack.frames[ask.asker], path, sources)]
        if why
    ]
    return min(found, key=lambda one: _ORDER.index(one.sure), default=None)


def _outer_sites(stack: Stack, sources: Mapping[str, Source], ask: Ask) -> Iterator[tuple[int, Site]]:
    for n in range(ask.asker, len(stack.frames)):
        frame = stack.frames[n]
        source = sources.get(frame.file)
        callee = stack.frames[n - 1] if n else None
        sites = held(frame, source, callee)
        for site in enclosing(frame, source, callee):
            asks = n == ask.asker and site.where.line == ask.where.line
            if not asks and (site in sites or site.target == ask.target):
                yield _taken_for(stack, n, site, sources)


def _taken_for(stack: Stack, n: int, site: Site, sources: Mapping[str, Source]) -> tuple[int, Site]:
    """The frame that a site serves: of a call in a lock's own method it is the frame that uses the lock.

    The method is interrupted between getting the lock and returning: filelock logs there, for one.
    """
    found = origin(stack.frames, n, sources) if site.how == "call" else None
    if found is None or not found[1]:
        return n, site
    outer, expression, target = found
    frame = stack.frames[outer]
    where = Where(function=frame.function, file=frame.file, line=frame.line)
    local, base = resolve(frame, target)
    return outer, replace(
        site,
        where=where,
        expression=expression,
        target=target,
        made="",
        address=local.address if local else None,
        base=base.address if base else None,
    )


def _same(
    site: Site,
    holder: Frame,
    ask: Ask,
    asker: Frame,
    path: str | None,
    sources: Mapping[str, Source],
) -> tuple[Sure, str]:
    """How sure it is that a site holds what is asked for, and why; no reason: it is another lock."""
    if site.address is not None and site.address in ask.addresses:
        return Sure.MEMORY, f"both are the object at {site.address:#x}"
    wanted = {path} if path else set(ask.paths)
    named = _paths_of(site, holder)
    if common := wanted.intersection(named):
        return Sure.MEMORY, f"both name {min(common)}"
    if common := {long for long in wanted for short in named if long.endswith("/" + short)}:
        return Sure.SOURCE, f"both name {min(common)}"
    if site.target == ask.target:
        # The kernel names one path for both: then each may have opened that file for itself.
        same = _same_values(site.target, holder, asker, reopened=path is not None)
        if same:
            return Sure.SOURCE, f"both are {site.target}, where {' and '.join(same)} are the same in memory"
        if same is not None and _shares_names(holder, asker, sources):
            return Sure.SOURCE, f"both are {site.target} in {holder.function}"
    head = site.target.partition("(")[0]
    if "(" in site.target and head == ask.target.partition("(")[0]:
        return Sure.PATTERN, f"both are a {head}"
    return Sure.PATTERN, ""


def _shares_names(holder: Frame, asker: Frame, sources: Mapping[str, Source]) -> bool:
    """Whether names of one frame that py-spy does not show mean the same in the other, as text.

    They are frames of one function, or one is of a function written inside the other's: a closure.
    """
    if holder.file != asker.file:
        return False
    if holder.function == asker.function:
        return True
    source = sources.get(holder.file)
    outer, inner = locate(holder, source), locate(asker, source)
    if outer is None or inner is None or outer.scope.type == "module":
        return False
    return within(inner.scope, outer.scope)


def _same_values(expression: str, one: Frame, other: Frame, *, reopened: bool) -> tuple[str, ...] | None:
    """The names in an expression that mean the same in two frames, as memory tells; None if any does not.

    ``reopened``: two file objects, or two descriptors, may stand for one file.
    """
    names = sorted(identifiers(expression))
    mine = {local.name: local for local in one.locals}
    theirs = {local.name: local for local in other.locals}
    both = [name for name in names if name in mine and name in theirs]
    if reopened:
        both = [name for name in both if not (_is_file(mine[name]) and _is_file(theirs[name]))]
    for name in both:
        if mine[name].address != theirs[name].address and (
            mine[name].type_name is not None or mine[name].value != theirs[name].value
        ):
            return None
    return tuple(both)


def _is_file(local: Local) -> bool:
    """Whether a local is a file object (2.7: file, 3.x: the classes of io) or may be a descriptor."""
    kind = (local.type_name or "").rpartition(".")[2]
    return (
        kind == "file"
        or kind.endswith(("IOWrapper", "FileIO", "Writer", "Reader"))
        or local.value.isdecimal()
    )


def _paths_of(site: Site, frame: Frame) -> set[str]:
    """The paths that the locals in a site's expressions name, and those written there."""
    written = f"{site.expression} {site.made}"
    names = identifiers(written)
    paths = {text_value(local) for local in frame.locals if local.name in names}
    literal = written.replace("'", '"').split('"')[1::2]
    return {path for path in (*paths, *literal) if path}


def holding(
    stack: Stack, sources: Mapping[str, Source], names: frozenset[str], fd: int | None
) -> Site | None:
    """Find the statement of a stack that holds the lock on a file, known by its paths and a descriptor.

    A site counts when its expression names the path or the descriptor in memory, or when it is written
    as a lock on a file (flock, lockf, a class that says so) and names no other path.
    """
    written: Site | None = None
    for n, frame in enumerate(stack.frames):
        for site in held(frame, sources.get(frame.file), stack.frames[n - 1] if n else None):
            paths = _paths_of(site, frame)
            if names.intersection(paths) or fd in _fds_of(site, frame):
                return _taken_for(stack, n, site, sources)[1]
            elsewhere = any(path.startswith("/") for path in paths)
            local, _ = resolve(frame, site.target)
            says = f"{site.expression} {site.made} {local.type_name if local else ''}"
            if written is None and not elsewhere and _FILE_LOCKS.search(says):
                written = _taken_for(stack, n, site, sources)[1]
    return written


def _fds_of(site: Site, frame: Frame) -> set[int]:
    names = identifiers(site.expression)
    return {
        int(local.value)
        for local in frame.locals
        if local.name in names and local.value.isdecimal() and len(local.value) < 8
    }
