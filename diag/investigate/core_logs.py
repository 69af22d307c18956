"""What the logs of a service tell of the process of a core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import worker_log
from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.host import Host
    from diag.model.core import CoreImage
    from diag.model.snapshot import Snapshot
    from diag.model.worker_log import WorkerLog


def add(host: Host, snapshot: Snapshot, image: CoreImage, logs: Sequence[str]) -> Snapshot:
    """Add what the logs of the service tell of the process."""
    found: list[WorkerLog] = []
    gaps: list[Gap] = []
    for path in logs:
        try:
            one = worker_log.collect(host, path, image.pid)
        except OSError as error:
            reason, hint = error.strerror or str(error), "name a log that you may read"
        else:
            found.append(one)
            if one.count:
                continue
            reason = f"no line of it names process {image.pid}"
            hint = "name the log of that time: it may have been rotated"
        gaps.append(Gap(source=path, hides="what the service said of the process", reason=reason, hint=hint))
    return replace(snapshot, worker_logs=tuple(found), gaps=(*snapshot.gaps, *gaps))
