"""Names functions of a core that the unwinders could not name, by the symbol tables of the files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from diag.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.elf import Code
    from diag.host import CoreView
    from diag.model.code import Symbol
    from diag.model.core import CoreImage, CoreModule
    from diag.model.facts import Frame


_UNTOLD = re.compile(r"ld-|libffi\b|libc[.-]")
"""Libraries whose inner functions tell nothing: not worth the 40 ms that reading their tables takes."""
_NEVER_RETURNS = re.compile(
    r"(?:__GI_)?(?:abort|_?exit|__run_exit_handlers|__assert_fail\w*|__stack_chk_fail)|_?Py_Fatal\w*|fatal_error\w*"
    r"|_Py_NegativeRefcount|_PyObject_AssertFailed"
)


class _File(NamedTuple):
    code: Code
    lowest: int  # address, in the file's own terms, of its first byte


class Names:
    """The symbol tables of the mapped files, each read when it is needed."""

    def __init__(self, view: CoreView, image: CoreImage) -> None:
        self._view = view
        self._modules = {one.path: one for one in image.modules}
        self._files: dict[str, _File | None] = {}
        self._pcs = {one.pc for one in image.threads}

    @classmethod
    def of(cls, view: CoreView, image: CoreImage) -> Names:
        """Those of a core, the same for all who ask: to read the tables of one file takes 10 ms."""
        if view not in _KNOWN:
            _KNOWN[view] = cls(view, image)
        return _KNOWN[view]

    def all_named(self, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """Return the frames of one thread, innermost first, each with its function's name, as far as told."""
        inner = ("", *(frame.function for frame in frames))
        return tuple(
            self.named(frame, anew=bool(_NEVER_RETURNS.fullmatch(callee)))
            for callee, frame in zip(inner, frames, strict=False)
        )

    def named(self, frame: Frame, *, anew: bool = False) -> Frame:
        """Return a frame with its function's name, where it had none and a table tells.

        ``anew``: the name it has may be wrong. A return address already belongs to the next function where
        the called one never returns, so that the compiler put nothing behind the call.
        """
        module = self._modules.get(frame.library or "")
        if (frame.function != "?" and not anew) or module is None or module.now not in ("same", "unknown"):
            return frame
        if _UNTOLD.match(module.name):
            return frame
        # A return address may already belong to the next function, where the called one never returns.
        address = frame.address - (frame.address not in self._pcs)
        found = self._at(module, address)
        return replace(frame, function=found) if found else frame

    def start(self, address: int) -> int | None:
        """Where the function begins that an address belongs to, as a table tells."""
        for module in self._modules.values():
            if module.start <= address < module.end:
                symbol = self._symbol(module, address)
                file = self._files.get(module.path)
                return symbol.address + module.start - file.lowest if symbol and file else None
        return None

    def _at(self, module: CoreModule, address: int) -> str | None:
        symbol = self._symbol(module, address)
        return symbol.name if symbol else None

    def _symbol(self, module: CoreModule, address: int) -> Symbol | None:
        if module.path not in self._files:
            self._files[module.path] = _open(self._view, module.path)
        file = self._files[module.path]
        if file is None:
            return None
        return file.code.symbol(address - module.start + file.lowest)


_KNOWN: WeakKeyDictionary[CoreView, Names] = WeakKeyDictionary()


def _open(view: CoreView, path: str) -> _File | None:
    from diag.collectors.elf import Code, Image  # noqa: PLC0415 - pyelftools loads only when used

    try:
        image = Image.open(view, path)
    except (MalformedError, OSError):
        return None
    loads = (one.address - one.offset for one in image.segments if one.type == "PT_LOAD")
    return _File(Code(view, image), min(loads, default=0))
