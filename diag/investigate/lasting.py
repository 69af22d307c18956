"""Whether a lock stays with its holder for a while: who may poll for one that changes hands will get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate.lock_files import id_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.investigate.second_sample import Look


class Lasting:
    """Looks at the table of locks for a second, but only once somebody asks."""

    def __init__(self, inquiry: Inquiry, graph: LockGraph) -> None:
        self._inquiry, self._graph = inquiry, graph
        self._looks: list[Look] = []

    def is_kept(self, path: str | None, files: Collection[tuple[int, int]] = ()) -> bool:
        """Whether a lock on a path, or on ``files`` as /proc/locks has them, is held all the while.

        Where no lock is listed the answer is yes: nobody can be seen to give it back.
        """
        from diag.investigate import second_sample  # noqa: PLC0415 - it loads a parser of Python source

        wanted = {*files, *self._graph.files.locks_at(path)}
        held = [lock for lock in self._graph.table if lock.depth == 0 and id_of(lock) in wanted]
        lines = {second_sample.line(lock) for lock in held if lock.listed}
        if not lines or len(lines) < len(held):
            return True
        if not self._looks:
            for step in second_sample.STEPS:
                self._inquiry.host.sleep(step)
                self._looks.append(second_sample.look_again(self._inquiry.host, frozenset(lines)))
        return any(all(line in look.lines for look in self._looks) for line in lines)
