"""Help, completion and README agree with the commands that are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from diag.cli import COMMANDS, cli
from tests.support.cli import diag
from tests.support.locked import ROOT

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")


def load(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_its_exit_codes(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"], prog_name="diag")
    assert done.exit_code == 0
    assert re.search(rf"^ +(sudo )?diag {name}", done.output, re.MULTILINE), "an example"
    assert max(map(len, done.output.splitlines())) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"diag {name}" in README


def readme_commands() -> list[str]:
    """Every line of README's code blocks that calls diag, without prompts and comments."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    calls = [line.removeprefix("sudo ").partition("  #")[0].strip() for line in lines]
    return [call for call in calls if call.startswith("diag ")]


@pytest.mark.parametrize("line", readme_commands() or ["none"])
def test_readmes_examples_are_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.partition("|")[0])[1:]
    for word in words:
        if word.endswith(".diag"):
            (tmp_path / word).touch()  # a file that --replay asks for
    if words[0].startswith("-"):
        cli.make_context("diag", words, resilient_parsing=True)
    else:
        load(words[0]).make_context(words[0], words[1:])


def test_readme_has_an_example_of_each_command() -> None:
    assert {line.split()[1] for line in readme_commands()} >= set(COMMANDS)


def completions(words: str, shell: str = "bash") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from diag.cli import cli; cli(prog_name='diag')"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_DIAG_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_completion_of_commands_codes_demos_and_formats() -> None:
    assert completions("diag ") >= set(COMMANDS)
    assert "L001" in completions("diag explain L")
    assert completions("diag explain inh") == {"inherited-lock", "inherited-pipe"}
    assert "lock-cycle" in completions("diag demo ")
    assert completions("diag doctor --format j") == {"json"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_each_shell(shell: str) -> None:
    assert f"_DIAG_COMPLETE={shell}_source diag" in README
    done = subprocess.run(
        [sys.executable, "-c", "from diag.cli import main; main()"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "_DIAG_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert f"{shell}_complete" in done.stdout


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "{'rich', 'psutil', 'msgspec', 'ahocorasick_rs', 'diag.investigate', 'diag.render.terminal'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, diag.cli; sys.exit(str({heavy} & set(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.stderr.strip() == "set()"


def test_usage_errors_are_two_or_three_lines() -> None:
    answer = diag("explode", form="terminal")
    assert answer.code == 2
    assert len(answer.stderr.splitlines()) <= 4


def test_without_a_standard_output_the_exit_code_still_tells(tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    path.touch()
    script = '"$0" -m diag locks "$1" >&-; echo $? >&2; "$0" -m diag explain L001 >&-; echo $? >&2'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == "0\n0\n"


def test_a_removed_working_directory_and_a_full_disk_are_no_bugs_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "release"
    place.mkdir()
    command = f"rmdir {place}; {sys.executable} -m diag doctor --format json"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for target, codes in (("/dev/null", (0, 4)), ("/dev/full", (1,))):
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", f"{command} > {target}"],
            cwd=place,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done
        assert "bug" not in done.stderr, done
    assert "No space left on device" in done.stderr
