"""Literals of SQL statements are masked, names and parameters stay."""

from __future__ import annotations

import pytest

from diag.host.dsn import parse
from diag.host.records import Answers, Rows
from diag.host.sql_text import answers, masked


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("update user set a = a - 5 where id=1", "update user set a = a - ? where id=?"),
        (
            "select 'it''s' , \"x\\\"y\", `col1` from t2 where x=-1.5e3",
            "select ? , ?, `col1` from t2 where x=-?",
        ),
        ("select /* user 17 */ 0xFF # tail 12\n, b", "select ?  , b".replace("  ", " ")),
        ("insert into t values ('cut in the mid", "insert into t values (?"),
    ],
)
def test_mysql(statement: str, shown: str) -> None:
    assert masked(statement, "mysql") == shown


def test_the_standard_has_names_in_double_quotes_and_dollars() -> None:
    text = """select "Name", $1, $$bo'dy$$, $t$x$t$, 'y' from t1 -- 17"""
    assert masked(text, "postgresql") == 'select "Name", $1, ?, ?, ? from t1'


def test_passwords_are_masked_whoever_asks() -> None:
    rows = (("set password = 'x'",), ("select 'shown'",))
    given = Answers(results=(Rows(columns=("statement",), rows=rows),))
    (shown,) = answers(given, "mysql", literals=True).results
    assert shown.rows == (("set password = ?",), ("select 'shown'",))


@pytest.mark.parametrize(
    ("url", "public", "password"),
    [
        ("mysql://u:p%40w@h:3306/d?ssl=1", "mysql://u@h:3306/d?ssl=1", "p@w"),
        (
            "postgresql://u@h/d?password=geheim&sslmode=require",
            "postgresql://u@h/d?sslmode=require",
            "geheim",
        ),
        ("mysql://u@localhost/?socket=/run/x.sock", "mysql://u@localhost/?socket=/run/x.sock", ""),
        ("mysql://u:p@[::1]:3306/", "mysql://u@[::1]:3306/", "p"),
    ],
)
def test_a_dsn_is_shown_without_its_secrets(url: str, public: str, password: str) -> None:
    found = parse(url)
    assert (found.public, found.password) == (public, password)
    assert parse(public).public == public
