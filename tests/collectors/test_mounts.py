"""mountinfo and fdinfo as the kernel writes them, and as somebody hostile would."""

from __future__ import annotations

from diag.collectors.fuse import connection, parse_connection
from diag.collectors.mounts import of_path, parse_mountinfo

TEXT = rb"""24 1 254:0 / / rw,relatime - ext4 /dev/root rw
63 43 0:39 / /tmp/k1/a\040mount rw,relatime - fuse.archive archive rw,user_id=0,group_id=0,allow_other
64 24 0:51 / /srv rw,relatime shared:5 master:1 - nfs4 filer:/export rw,vers=4.2,hard
65 64 0:52 / /srv rw - tmpfs none rw
not a line
66 24 0:x / /srv rw - tmpfs none rw
67 24 0:60 / /a\134b\303 rw - fuse - rw
"""


def test_mounts_are_parsed_and_broken_lines_left_out() -> None:
    found = {mount.id: mount for mount in parse_mountinfo(TEXT)}
    assert sorted(found) == [24, 63, 64, 65, 67]
    archive = found[63]
    assert (archive.point, archive.type, archive.source) == ("/tmp/k1/a mount", "fuse.archive", "archive")
    assert (archive.device, archive.is_fuse, archive.is_network) == (39, True, False)
    assert (found[64].is_network, found[64].source) == (True, "filer:/export")
    assert found[67].point.startswith("/a\\b")
    found[67].point.encode()  # no lone surrogates


def test_a_path_belongs_to_the_longest_and_newest_mount() -> None:
    mounts = tuple(parse_mountinfo(TEXT))
    paths = ("/etc/x", "/tmp/k1/a mount/file", "/tmp/k1/a mountain", "/srv/x", "/tmp/k1/a mount/../x", "/")
    found = [of_path(path, mounts) for path in paths]
    assert [mount and mount.id for mount in found] == [24, 63, 24, 65, 24, 24]
    assert of_path("/x", ()) is None


def test_connections_have_the_kernels_own_device_numbers() -> None:
    assert connection(39) == 39
    assert connection(0xFE00) == 0xFE << 20  # fuseblk: of a block device
    assert parse_connection("pos:\t0\nfuse_connection:\t39\n") == 39
    assert parse_connection("pos:\t0\n") is None
    assert parse_connection("fuse_connection:\t\u0665\n") is None
