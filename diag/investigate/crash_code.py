"""Names the function and the line in which a program crashed, from the file that was executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.crashes import opcodes, operands
from diag.errors import MalformedError
from diag.investigate import code_files, code_match
from diag.investigate.code_match import Seen
from diag.investigate.siblings import here
from diag.model import fault
from diag.model.code import CodePlace
from diag.model.crash import CrashGroup, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diag.collectors.elf.fitting import Mapped
    from diag.host import Host
    from diag.investigate.code_files import Candidate
    from diag.investigate.places import Places
    from diag.model.crash import CrashEvent, LogLine

MOST = 300
"""Groups whose function is looked up, the most frequent ones: each costs up to 0.1 s."""


def name(
    host: Host,
    events: Iterable[CrashEvent],
    groups: tuple[CrashGroup, ...],
    places: Places,
    tell: Callable[[str], None],
    named_from: int = 1,
) -> tuple[CrashGroup, ...]:
    """Return the groups, those of ``named_from`` crashes and more with function, line and instruction.

    ``events`` are all that the logs hold: among them are the bytes around each fault.
    """
    wanted = {id(one) for one in groups if one.sample.role is Role.CRASH and one.count >= named_from}
    if not wanted:
        return groups
    tell("naming the functions that crashed")
    printed = opcodes.of_crashes(events)
    names = {group.library for group in groups if group.library and _mapped(group)}
    finder = code_files.Finder(host, places.root, places.debug, names)
    return tuple(
        _with_code(host, group, printed, finder) if id(group) in wanted else group for group in groups
    )


def _with_code(
    host: Host, group: CrashGroup, printed: dict[LogLine, opcodes.Opcodes], finder: code_files.Finder
) -> CrashGroup:
    # After a jump to data, the bytes there are no instruction that was executed.
    ran = fault.access(group.sample) != "execute"
    there = next((printed[one.at] for one in group.events if one.at in printed), None) if ran else None
    mapping = _mapped(group) if ran else None
    code = _named(host, Seen(group, mapping, there), finder) if mapping else None
    if code is None and there is None:
        return group
    code = _decoded(code or CodePlace(), group, there)
    return replace(group, code=code, symbol=code.symbol.name if code.symbol else None)


def _mapped(group: CrashGroup) -> Mapped | None:
    """What the kernel said of the mapping, where a file lies at the instruction pointer."""
    from diag.collectors.elf.fitting import Mapped  # noqa: PLC0415 - loads only when used

    sample = group.sample
    base, size = sample.number("map_base"), sample.number("map_size")
    if not sample.inside or base is None or size is None:
        return None
    return Mapped(sample.number("ip"), base, size, sample.number("map_offset"))


def _named(host: Host, seen: Seen, finder: code_files.Finder) -> CodePlace:
    group = seen.group
    if finder.root is None and not here(host, group):
        trouble = "the log does not say that it is this host's: name where the files are with --root DIR"
        return CodePlace(trouble=trouble)
    found: list[CodePlace] = []
    for candidate in finder.candidates(group):
        found.append(_tried(seen, candidate, finder))
        if found[-1].proven:  # what others may say can not be more
            break
    if good := [one for one in found if one.address is not None and not one.replaced and not one.unlike]:
        return _agreed([one for one in good if one.proven] or good)
    other = next((one for one in found if one.replaced), found[0] if found else None)
    return other or CodePlace(trouble=f"no file named {group.library} was found")


def _agreed(good: list[CodePlace]) -> CodePlace:
    """Take what all files that fit say; where they differ, nothing can be said."""
    if len({one.symbol.name if one.symbol else None for one in good}) > 1:
        paths = " and ".join(sorted({str(one.path) for one in good})[:2])
        return CodePlace(trouble=f"several files may be the one: {paths}")
    return next((one for one in good if one.line), good[0])


def _tried(seen: Seen, candidate: Candidate, finder: code_files.Finder) -> CodePlace:
    try:
        return _look(seen, candidate, finder)
    except (OSError, MalformedError):  # it vanished meanwhile, or is damaged
        return CodePlace(path=candidate.path, trouble="it can not be read")


def _look(seen: Seen, candidate: Candidate, finder: code_files.Finder) -> CodePlace:
    """Look into one file: is it the one that crashed, and what is there."""
    from diag.collectors.elf import fitting  # noqa: PLC0415 - loads only when used

    image = finder.image(candidate)
    place = CodePlace(path=candidate.path, users=candidate.users)
    if image is None or not code_match.of_machine(image, seen.group.kind):
        return replace(place, trouble="it can not be read")
    address = fitting.address(image, seen.mapping)
    proven, unlike = False, f"its code segment is not the one that crashed ({seen.mapping.size:#x} bytes)"
    if address is not None:
        proven, unlike = code_match.same(seen, candidate, image, address)
    if unlike or address is None:
        gone = code_match.replaced(candidate, seen.group.last)
        return replace(place, trouble=unlike, unlike=True, replaced=unlike if gone else None)
    if finder.looked_up >= MOST:
        return replace(place, address=address, trouble=f"more than {MOST} places: narrow with --program")
    found = finder.look_up(candidate, image, address)
    return replace(
        place,
        build_id=image.build_id,
        address=address,
        proven=proven,
        instruction=code_match.from_file(image, address),
        symbol=found.symbol,
        within=address - found.symbol.address if found.symbol else None,
        line=found.line,
        trouble=None if found.symbol or found.line else "its symbol tables name no function there",
    )


def _decoded(place: CodePlace, group: CrashGroup, printed: opcodes.Opcodes | None) -> CodePlace:
    """Add the instruction, from the kernel's own bytes where there are any, with what it tells."""
    from diag.collectors import disassembly  # noqa: PLC0415 - loads only when used

    instruction = place.instruction
    if printed is not None:
        wide = (group.sample.number("sp") or 1 << 63) >> 32
        instruction = disassembly.decode(printed.rest, "x64" if wide else "x86", str(printed.line))
    if instruction is None or operands.contradiction(instruction, group.sample):
        return replace(place, instruction=None)
    words = operands.words(instruction, group.sample)
    null = operands.through_null(instruction, group.sample)
    return replace(place, instruction=replace(instruction, words=words, null=null))
