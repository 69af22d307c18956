"""Where Python code takes locks and asks for them: pure functions on stacks and source text."""

from diag.waits.lock_sites.asking import asking
from diag.waits.lock_sites.doing import doing, signaller
from diag.waits.lock_sites.held import each_taken, held, taken_by
from diag.waits.lock_sites.polling import tries_inside
from diag.waits.lock_sites.programs import restarted
from diag.waits.lock_sites.reentry import handler_between
from diag.waits.lock_sites.retaken import holding, retaken
from diag.waits.lock_sites.unreleased import Releases, releases, unguarded
from diag.waits.lock_sites.watching import watching

__all__ = [
    "Releases",
    "asking",
    "doing",
    "each_taken",
    "handler_between",
    "held",
    "holding",
    "releases",
    "restarted",
    "retaken",
    "signaller",
    "taken_by",
    "tries_inside",
    "unguarded",
    "watching",
]
