"""Makes text that a process, a path or a log line chose safe to show."""

from __future__ import annotations

import re

# C0, DEL, C1; bidirectional controls that reorder what is read; bytes that were no UTF-8
# (diag.host.names.to_text).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\U0010dc80-\U0010dcff\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""Replace control characters by their escapes (``\x1b``): no name may drive the terminal."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code >= 0x10DC80:  # a byte that was no UTF-8, see diag.host.names.to_text
        return f"\\x{code - 0x10DC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
