"""The shape of design.md: one door to the system, and imports that run one way only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import diag
from diag.rules import Rule, rules
from diag.rules.catalogue import CATALOGUE, FAMILIES, find
from tests.support.locked import ROOT

PACKAGE = Path(diag.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Part of diag -> the parts it may use. Types count like code.
MAY_IMPORT = {
    "model": {"model"},
    "host": {"host", "model", "errors"},
    "collectors": {"collectors", "host", "model", "errors"},
    "waits": {"waits", "collectors", "model"},
    "crashes": {"crashes", "model"},
    "rules": {"rules", "model"},
    "diagnose": {"model", "rules"},
    "investigate": {
        "investigate",
        "collectors",
        "crashes",
        "waits",
        "host",
        "model",
        "errors",
        "rules",
        "diagnose",
    },
    "render": {"render", "host", "model"},
    "demos": {"demos", "errors"},
}

# Doors to the system that only the host (and the command line, for its own files) may use.
DOORS = {
    "ctypes",
    "fcntl",
    "glob",
    "pathlib",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "psutil",
}
OS_NAMES = {"path", "sep", "fspath"}  # what is left of os without a system call


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            base = node.module or ""
            found.update(f"{base}.{alias.name}" if base == "diag" else base for alias in node.names)
    return found


def part(path: Path) -> str:
    """Return the part of diag that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def sources(*parts: str) -> list[Path]:
    return [path for path in SOURCES if part(path) in parts and "programs" not in path.parts]


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_imports_run_one_way(name: str) -> None:
    for path in sources(name):
        used = {module.split(".")[1] for module in imports(path) if module.startswith("diag.")}
        wrong = used - MAY_IMPORT[name] - {"__version__"}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports diag.{', diag.'.join(sorted(wrong))}"


@pytest.mark.parametrize(
    "path", sources("collectors", "crashes", "waits", "rules", "investigate", "model", "render"), ids=str
)
def test_only_the_host_opens_the_system(path: Path) -> None:
    assert not imports(path) & DOORS
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            assert node.id not in ("open", "exec", "eval"), f"line {node.lineno}: {node.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr in OS_NAMES, f"line {node.lineno}: os.{node.attr}"


def test_rules_use_published_codes_and_names() -> None:
    assert len({rule.check for rule in rules()}) == len(rules())
    for rule in rules():
        entry = find(rule.code)
        assert entry, f"{rule.code} is not in the catalogue"
        assert rule.slug == entry.slug


def test_the_catalogue_is_in_order_and_without_holes() -> None:
    for letter in FAMILIES:
        numbers = [int(entry.code[1:]) for entry in CATALOGUE if entry.code[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))
    names = [entry.slug for entry in CATALOGUE]
    assert len(names) == len(set(names))


HEADINGS = (
    "What it means",
    "What it rests on",
    "What it cannot see",
    "What to do now",
    "How to fix the code",
    "Looks like it, but is not",
)


@pytest.mark.parametrize("rule", {rule.code: rule for rule in rules()}.values(), ids=lambda rule: rule.code)
def test_every_rule_has_a_complete_page(rule: Rule) -> None:
    page = (ROOT / "docs" / "rules" / f"{rule.code}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {rule.code} {rule.slug}\n")
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == list(HEADINGS)


LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_readme_names_every_finding() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not {rule.code for rule in rules() if f"[{rule.code}](docs/rules/{rule.code}.md)" not in readme}
