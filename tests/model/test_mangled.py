from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.model.mangled import readable
from tests.support.require import need_tool


@pytest.mark.parametrize(
    "name",
    [
        "_ZN4grpc6Server5startEv",
        "_ZNK3app6Handle4nameEi",
        "_ZN3app6HandleC2Ev",
        "_ZN3app6HandleD0Ev",
        "_Z4workPKcRi",
        "_ZL4workv",
    ],
)
def test_simple_names_are_those_of_cppfilt(name: str) -> None:
    tool = need_tool("c++filt", "binutils")
    said = subprocess.run([tool, name], capture_output=True, text=True, check=True).stdout
    assert readable(name) == said.partition("(")[0].strip()


def test_rust_and_anonymous_name_spaces() -> None:
    assert readable("_ZN3app4main17h0123456789abcdefE") == "app::main"
    assert readable("_ZN12_GLOBAL__N_14workEv") == "(anonymous)::work"


@pytest.mark.parametrize(
    "name", ["main", "_ZNSt6vectorIiSaIiEE9push_backERKi", "_ZN", "_Z9abc", "_ZN99xE", "_R"]
)
def test_other_names_stay(name: str) -> None:
    assert readable(name) == name


@given(st.text("_ZN0123456789EabcCD", max_size=60))
def test_any_name_has_an_answer_no_longer_than_it(name: str) -> None:
    assert len(readable(name)) <= len(name) * 2 + 2
