"""``diag explain``: what a finding means, what it rests on, what to do."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import resources
from typing import TYPE_CHECKING

import click
import msgspec

from diag import __version__
from diag.errors import UsageError
from diag.rules import FILES
from diag.rules.catalogue import CATALOGUE, FAMILIES, Entry, find

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from click.shell_completion import CompletionItem


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only when a shell asks

    del ctx, parameter
    typed = incomplete.casefold()
    return [
        CompletionItem(name, help=entry.meaning)
        for entry in CATALOGUE
        for name in (entry.code, entry.slug)
        if (name.casefold().startswith(typed) if typed else name == entry.code)
    ]


@click.command(
    "explain",
    short_help="What a finding's code means, and what to do.",
    epilog="Exit codes: 0 explained, 2 no such code.",
)
@click.argument("code", required=False, shell_complete=_complete)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json"]),
    default="terminal",
    show_default=True,
    help="Form of the text.",
)
def command(code: str | None, form: str) -> None:
    """Say what CODE means, what it rests on, what it cannot see, and what to do.

    \b
    diag explain               all codes, one line each
    diag explain L001          one of them, by its code ...
    diag explain self-deadlock ... or by its name
    """
    if code is None:
        entries, text = CATALOGUE, _listing()
    else:
        entry = _entry(code)
        entries, text = (entry,), _page(entry)
    if form == "json":
        click.echo(_json(code, entries))
    else:
        _show(text)


def _entry(name: str) -> Entry:
    if entry := find(name):
        return entry
    names = [n for entry in CATALOGUE for n in (entry.code, entry.slug)]
    close = difflib.get_close_matches(name, names, 3) or difflib.get_close_matches(name.upper(), names, 3)
    raise UsageError(
        f"there is no code {name!r}",
        hint=f"did you mean {' or '.join(close)}?" if close else "'diag explain' lists them all",
    )


def _has_rule(entry: Entry) -> bool:
    return entry.code in FILES


def _listing() -> str:
    """Return all codes by family, as Markdown."""
    lines = []
    for letter, name in FAMILIES.items():
        lines += [f"# {letter}: {name}", "", "| code | name | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| {entry.code}{'' if _has_rule(entry) else ' *'} | {entry.slug} | {entry.meaning} |"
            for entry in CATALOGUE
            if entry.code[0] == letter
        ]
        lines.append("")
    lines.append(rf"\* published, but diag {__version__} has no rule for it yet")
    return "\n".join(lines) + "\n"


def _page(entry: Entry) -> str:
    """Return the page of one code as Markdown; a code without a rule says so, first of all."""
    text = _written(entry.code) or f"# {entry.code} {entry.slug}\n\nMeaning: {entry.meaning}.\n"
    if _has_rule(entry):
        return text
    title, _, rest = text.partition("\n")
    return (
        f"{title}\n\n**diag {__version__} has no rule for {entry.code} yet: it never reports it, "
        f"and its silence says nothing about it.**\n{rest}"
    )


def _written(code: str) -> str | None:
    """Read docs/rules/CODE.md: beside the package in a clone, inside it in a wheel."""
    package = resources.files("diag")
    places: tuple[Traversable, ...] = (package / "docs", package / ".." / "docs")
    for docs in places:
        page = docs / "rules" / f"{code}.md"
        if page.is_file():
            return page.read_text(encoding="utf-8")
    return None


def _json(code: str | None, entries: tuple[Entry, ...]) -> str:
    document = {
        "schema": "diag/1",
        "command": ["explain", code] if code else ["explain"],
        "explain": [
            {
                "code": entry.code,
                "slug": entry.slug,
                "meaning": entry.meaning,
                "has_rule": _has_rule(entry),
                "page": _page(entry) if code else None,
            }
            for entry in entries
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _show(markdown: str) -> None:
    """Print Markdown: laid out on a terminal, as it is in a pipe."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        click.echo(markdown, nl=False)
        return
    from rich.console import Console  # noqa: PLC0415 - rich loads only for a terminal
    from rich.markdown import Markdown  # noqa: PLC0415

    Console(no_color="NO_COLOR" in os.environ).print(Markdown(markdown))
