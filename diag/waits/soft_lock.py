"""Locks by existence: whoever makes the file has the lock."""

from __future__ import annotations

from diag.model.graph import Resource


def resource_of(path: str) -> Resource:
    """Name a lock file that is a lock by its existence."""
    return Resource(
        kind="soft-lock", key=f"soft-lock:{path}", name=f"lock file {path}", path=path, lock="soft"
    )
