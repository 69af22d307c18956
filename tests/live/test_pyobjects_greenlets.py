"""Greenlets of real processes, with greenlet 1 (2.7), 2 and 3, and gevent on top."""

from __future__ import annotations

import pytest

from diag.collectors.pyobjects import greenlets
from tests.live.test_pyobjects_locks import attach
from tests.support.interpreters import on_pythons, packages
from tests.support.processes import running

pytestmark = pytest.mark.live

PLAIN = {"2.7": "greenlet==1.1.3.post0", "3.6": "greenlet==1.1.3.post0", "3.13": "greenlet==3.1.1"}
PLAIN |= {"3.8": "greenlet==2.0.2", "3.12": "greenlet==3.0.3", "3.11": "greenlet==3.1.1"}
GEVENT = {"3.8": "gevent==24.2.1", "3.12": "gevent==24.11.1"}


@on_pythons(*PLAIN)
def test_where_greenlets_go_on(python: str, request: pytest.FixtureRequest) -> None:
    where = packages(python, PLAIN[request.node.callspec.params["python"]])
    with running(python, "objects_greenlet.py", path=where) as program:
        objects = attach(program.pid)
        found = {one.address: one for one in greenlets.greenlets(objects)}
        said = program.said
        lines = [said["line_inner"], said["line_outer"]]
        for name in ("out", "child"):
            one = found[said[name]]
            assert [frame.where.line for frame in one.frames] == lines
            assert one.parent == said["main"]
        assert found[said["out"]].type == "__main__.Own"
        assert found[said["unstarted"]].frames == ()
        assert found[said["runs"]].frames == ()
        in_main = found[said["main"]]
        assert [frame.where.function for frame in in_main.frames] == ["<module>"]
        assert in_main.parent is None
        assert set(found) == {said[name] for name in ("out", "child", "unstarted", "runs", "main")}


@on_pythons(*GEVENT)
def test_gevent_hub_and_greenlets(python: str, request: pytest.FixtureRequest) -> None:
    where = packages(python, GEVENT[request.node.callspec.params["python"]])
    with running(python, "objects_gevent.py", path=where) as program:
        objects = attach(program.pid)
        found = {one.address: one for one in greenlets.greenlets(objects)}
        said = program.said
        hub = found[said["hub"]]
        assert hub.is_hub
        for name in ("ab", "ba", "event", "time"):
            one = found[said[f"greenlet_{name}"]]
            assert one.parent == said["hub"]
            assert len(one.frames) == said[f"depth_{name}"], name
            assert one.frames[-1].where.line == said[f"line_{name}"], name
        wanted = dict(found[said["greenlet_ab"]].frames[-1].locals)
        assert (wanted["first"], wanted["second"]) == (said["one"], said["two"])
