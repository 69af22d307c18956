"""Whether a pause is one between two looks at whether a child process, or a thread, has ended."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Where
from diag.waits.lock_sites.asker import running_parts
from diag.waits.lock_sites.doing import sends_signals
from diag.waits.lock_sites.places import is_stdlib
from diag.waits.lock_sites.polling import LOOPS
from diag.waits.lock_sites.syntax import functions, inside, line_of, locate, parse, text_of, within
from diag.waits.lock_sites.words import calls, first_argument, says_pause, split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tree_sitter import Node

    from diag.model.facts import Frame, Stack
    from diag.model.source import Source
    from diag.waits.lock_sites.syntax import Position
    from diag.waits.lock_sites.words import Call

_REACH = 12
"""Frames between a sleep and the loop that looks again: library functions, helpers named pause."""
_ALIVE = frozenset({"is_alive", "isAlive", "is_running", "pid_exists", "active_children"})
_REAPS = frozenset({"waitpid", "wait3", "wait4", "waitid"})
_WAITS = frozenset({"wait", "join"})  # with a time limit, of Popen, Process and Thread
_RESULTS = frozenset({"exitcode", "returncode"})  # None until a process has ended
_EXITS = ("break_statement", "return_statement", "raise_statement")
_NAMES = ("identifier", "attribute")
_BARE = (
    *_NAMES,
    "not_operator",
    "call",
    "argument_list",
    "comparison_operator",
    "integer",
    "boolean_operator",
)
_TIME = frozenset(
    {"time", "timeout", "deadline", "monotonic", "until", "elapsed", "tries", "retries", "attempts", "now"}
)


class Watch(NamedTuple):
    """A loop that is left once something has ended."""

    frame: int  # index of the frame that runs it
    where: Where  # the look
    subjects: tuple[str, ...]  # expressions of that frame that lead to what is watched
    numbers: tuple[int, ...]  # that its variables hold: perhaps pids
    everybody: bool  # it asks for any child: active_children(), waitpid(-1)
    limited: bool  # it gives up some time


class _Look(NamedTuple):
    node: Node
    name: str
    arguments: str


def watching(stack: Stack, sources: Mapping[str, Source]) -> Watch | None:
    """Find the loop in whose pause a thread sleeps, if it ends with processes or threads.

    None for a loop that merely looks after them, as a supervisor's does: its end has nothing to do with
    theirs. What the expressions stand for only memory can tell.
    """
    handed = False  # a helper further in looks again by what it was given: wait_until(lambda: ...)
    for n, frame in enumerate(stack.frames[:_REACH]):
        if frame.native or is_stdlib(frame.file):
            continue
        source = sources.get(frame.file)
        position = locate(frame, source)
        if source is not None and position is not None:
            found = _handed(frame, source, position) if handed else _loop(frame, source, position)
            if found is not None:
                return found._replace(frame=n)
            handed = handed or _calls_what_it_is_given(position)
        if not handed and not says_pause(frame.function.rpartition(".")[2]):
            return None
    return None


def _loop(frame: Frame, source: Source, position: Position) -> Watch | None:
    parts = running_parts(position.steps[-1].statement)
    pauses = any(says_pause(call.name) or _is_look(call) for part in parts for call in calls(part))
    for step in reversed(position.steps) if pauses else ():
        if step.statement.type in LOOPS and (found := _of_loop(step.statement, frame, source)):
            return found
    return None


def _of_loop(loop: Node, frame: Frame, source: Source) -> Watch | None:
    """Say what a loop waits for: what its condition, and every way out of it, is about."""
    looks = list(_looks(loop, source))
    exits = list(_exits(loop, looks))
    timed = [condition for condition in exits if _TIME & _words(condition, looks)]
    limited = loop.type == "for_statement" or bool(timed)
    tells = dict(_assigned(loop, looks))
    nodes: list[Node] = []
    found: list[_Look] = []
    own = loop.child_by_field_name("condition")
    for condition in exits:
        within_it = [look for look in looks if within(look.node, condition)]
        told = [tells[text] for node in inside(condition) if (text := text_of(node)) in tells]
        if condition == own and _is_while_all(condition):
            return None  # "while all(p.is_alive() for p in workers)" looks after them, until one is missing
        if within_it or told:
            found += [*within_it, *(look for look, _ in told)]
            nodes += [condition, *(value for _, value in told)]
        elif condition == own and _is_bare(condition) and (looks or sends_signals(loop, source)):
            nodes.append(condition)  # "while self.workers": it counts if memory says that these are processes
        elif condition not in timed:
            return None  # it may go on for another reason: when a server answers, when it is told to stop
    return _watch(frame, source, nodes, found, limited=limited) if nodes else None


def _watch(frame: Frame, source: Source, nodes: list[Node], looks: list[_Look], *, limited: bool) -> Watch:
    inner = [body for look in looks for body in _bodies(source.text).get(look.name, ())]
    subjects = [text_of(node) for part in nodes for node in inside(part) if node.type in _NAMES]
    subjects += [
        text for body in inner for node in inside(body) if (text := text_of(node)).startswith("self.")
    ]
    values = {local.name: local.value for local in frame.locals}
    numbers = [int(values[name]) for name in subjects if values.get(name, "").isdecimal()]
    line = line_of(looks[0].node) if looks else frame.line
    return Watch(
        frame=0,
        where=Where(function=frame.function, file=frame.file, line=line),
        subjects=tuple(dict.fromkeys(subjects)),
        numbers=tuple(dict.fromkeys(numbers)),
        everybody=any(map(_is_about_all, looks)),
        limited=limited,
    )


def _is_about_all(look: _Look) -> bool:
    if look.name in _REAPS:
        return look.name == "wait3" or look.arguments.lstrip().startswith(("-1", "0", "os.P_ALL"))
    return look.name == "active_children"


def _looks(node: Node, source: Source) -> Iterator[_Look]:
    """Yield everything in a piece of code that tells whether a process or thread has ended."""
    bodies = _bodies(source.text)
    for call in calls(node):
        if _is_look(call) or call.name in bodies:
            yield _Look(call.node, call.name, call.arguments)
    for found in inside(node):
        if found.type == "attribute" and text_of(found.child_by_field_name("attribute")) in _RESULTS:
            yield _Look(found, "", "")


def _is_look(call: Call) -> bool:
    if call.name in _ALIVE:
        return True
    if call.name == "poll":
        return bool(call.target) and not call.arguments.strip()
    if call.name in _REAPS:
        return "NOHANG" in call.arguments
    if call.name == "kill":
        return call.arguments.replace(" ", "").endswith(",0")
    if call.name in _WAITS:  # not ", ".join(...) and not os.path.join(...)
        return (
            call.target[:1].isidentifier() and not call.target.endswith("path") and bool(first_argument(call))
        )
    return False


@lru_cache(maxsize=64)
def _bodies(text: bytes) -> Mapping[str, tuple[Node, ...]]:
    """The functions of a source that look themselves, by name."""
    root = parse(text)
    found: dict[str, tuple[Node, ...]] = {}
    for function in functions(root) if root is not None else ():
        name = text_of(function.child_by_field_name("name"))
        body = function.child_by_field_name("body")
        if body is not None and any(_is_look(call) for call in calls(body)):
            found[name] = (*found.get(name, ()), body)
    return found


def _exits(loop: Node, looks: list[_Look]) -> Iterator[Node]:
    """Yield the conditions under which a loop ends: its own, and those of its breaks and returns."""
    condition = loop.child_by_field_name("condition")
    if condition is not None and condition.type not in ("true", "integer"):
        yield condition
    for node in inside(loop):
        if node.type in _EXITS:
            yield from _reason(node, loop, looks)


def _reason(leaving: Node, loop: Node, looks: list[_Look]) -> Iterator[Node]:
    """Why a break or return is reached: the condition around it, or what a try before it did."""
    node = leaving.parent
    while node is not None and node != loop:
        if node.type in ("if_statement", "elif_clause"):
            condition = node.child_by_field_name("condition")
            if condition is not None:
                yield condition
            return
        if node.type == "try_statement":
            body = node.child_by_field_name("body")
            # After a look that has not raised, or in the except clause of one that has.
            if body is not None and any(
                within(look.node, body) and look.node.end_byte <= leaving.start_byte for look in looks
            ):
                yield body
            return
        node = node.parent


def _assigned(loop: Node, looks: list[_Look]) -> Iterator[tuple[str, tuple[_Look, Node]]]:
    """Yield the variables that take what a look told: ``alive = [p for p in all if p.is_alive()]``."""
    for node in inside(loop):
        if node.type not in ("assignment", "named_expression"):
            continue
        left = node.child_by_field_name("left") or node.child_by_field_name("name")
        right = node.child_by_field_name("right") or node.child_by_field_name("value")
        look = next((look for look in looks if right is not None and within(look.node, right)), None)
        if look is not None and left is not None and right is not None:
            yield from ((text_of(name), (look, right)) for name in inside(left) if name.type in _NAMES)


def _is_while_all(condition: Node) -> bool:
    """Whether a condition says that nobody has ended yet."""
    negated = any(node.type == "not_operator" for node in inside(condition))
    return not negated and any(call.name == "all" for call in calls(condition))


def _is_bare(condition: Node) -> bool:
    """Whether a condition only says that something is there: ``self.workers``, ``len(alive) > 0``."""
    return all(node.type in _BARE for node in inside(condition))


def _words(node: Node, looks: Sequence[_Look] = ()) -> frozenset[str]:
    """The words of the names in a piece of code; a look's own time limit is none of the loop."""
    parts = (part for part in inside(node) if part.type == "identifier")
    names = (text_of(part) for part in parts if not any(within(part, look.node) for look in looks))
    return frozenset(word for name in names for word in split(name))


def _calls_what_it_is_given(position: Position) -> bool:
    """Whether a loop around the line ends by what a parameter of the function says: ``while not done()``."""
    parameters = position.scope.child_by_field_name("parameters")
    given = {text_of(node) for node in inside(parameters)} if parameters is not None else set()
    for step in position.steps:
        if step.statement.type in LOOPS:
            found = (call for condition in _exits(step.statement, []) for call in calls(condition))
            if any(call.name in given and not call.target for call in found):
                return True
    return False


def _handed(frame: Frame, source: Source, position: Position) -> Watch | None:
    """What a helper was given to look at: ``wait_until(lambda: not worker.is_alive())``."""
    for part in running_parts(position.steps[-1].statement):
        for node in inside(part):
            if node.type != "lambda":
                continue
            body = node.child_by_field_name("body")
            looks = list(_looks(body, source)) if body is not None else []
            if looks and body is not None:
                return _watch(frame, source, [body], looks, limited=bool(_TIME & _words(part, looks)))
    return None
