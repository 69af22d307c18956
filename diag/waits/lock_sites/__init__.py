"""Where Python code takes locks and asks for them: pure functions on stacks and source text."""

from diag.waits.lock_sites.asking import asking
from diag.waits.lock_sites.doing import doing, signaller
from diag.waits.lock_sites.held import held
from diag.waits.lock_sites.reentry import handler_between
from diag.waits.lock_sites.retaken import holding, retaken

__all__ = ["asking", "doing", "handler_between", "held", "holding", "retaken", "signaller"]
