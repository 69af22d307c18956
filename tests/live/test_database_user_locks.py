"""GET_LOCK of a real MariaDB: who has a user lock, who waits for it, and what nobody can tell."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.live.test_databases import client, program_line, until_found
from tests.support.cli import diag
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live


def until_waiting(server: MariaDB) -> None:
    query = "select count(*) from information_schema.processlist where state = 'User lock'"
    wait_until(lambda: int(server.execute(query)) == 1, "one waits for the user lock")


def test_a_user_lock_whose_holder_is_in_no_transaction(shop: MariaDB) -> None:
    """Who has an older transaction open beside it is not blamed."""
    with ExitStack() as stack:
        holder, _, waiter = (
            stack.enter_context(client("pymysql", case, shop.port))
            for case in ("named", "reader", "wants_named")
        )
        until_waiting(shop)
        for start in ("why", waiter.pid), ("db",):
            answer = until_found("D002", *start, dsn=shop.dsn(), pid=holder.pid)
            finding = answer.found("D002", holder.pid)
            assert answer.codes == ["D002"], answer
            assert "user lock `Nightly.Report`" in finding["summary"]
            assert "sleep" in finding["summary"]
            assert finding["confidence"] == "certain"
            assert finding["victims"][0]["pid"] == waiter.pid
            assert program_line(finding) == "forever"
            assert "ends the session" in finding["remedy"][0]
            assert "RELEASE_LOCK" in finding["remedy"][1]


def test_a_user_lock_that_the_statement_does_not_name(shop: MariaDB) -> None:
    with ExitStack() as stack:
        for case in ("named", "reader", "wants_unnamed"):
            stack.enter_context(client("pymysql", case, shop.port))
        until_waiting(shop)
        answer = diag("db", "--dsn", shop.dsn())
        assert (answer.code, answer.codes) == (4, []), answer
        (gap,) = (one for one in answer.json["gaps"] if "user lock" in one["hides"])
        assert "IS_USED_LOCK" in gap["hint"]
