"""The part of the JSON report that ``diag core`` adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.model import signals

if TYPE_CHECKING:
    from diag.model.core import CoreFault, CoreImage, CoreModule, Suspect
    from diag.model.worker_log import WorkerLine, WorkerLog

Json = dict[str, Any]


def facts(core: CoreImage, fault: CoreFault | None, suspects: tuple[Suspect, ...]) -> Json:
    """What the core says of its process; addresses in hexadecimal."""
    signal = core.signal
    return {
        "path": core.path,
        "pid": core.pid,
        "process": core.name,
        "arguments": list(core.arguments),
        "executable": core.executable,
        "machine": core.machine,
        "signal": {
            "number": signal.number,
            "name": signals.name(signal.number),
            "code": signals.code_name(signal),
            "address": None if signal.address is None else hex(signal.address),
            "sender": signal.sender,
            "words": signals.cause(signal, core.pid),
        },
        "fault": fault and _fault(fault),
        "suspects": [
            {
                "library": one.library,
                "function": one.function or None,
                "tid": one.tid,
                "score": one.score,
                "why": list(one.why),
            }
            for one in suspects
        ],
        "complete": core.size >= core.expected,
        "libraries": [_module(module) for module in core.modules if module.executable],
    }


def _fault(fault: CoreFault) -> Json:
    bad = fault.bad_object
    return {
        "tid": fault.tid,
        "signal": signals.name(fault.signal),
        "address": None if fault.address is None else hex(fault.address),
        "ip": hex(fault.pc) if fault.seen else None,
        "sp": hex(fault.sp) if fault.seen else None,
        "library": fault.library,
        "offset": fault.offset,
        "instruction": fault.instruction or None,
        "words": list(fault.words),
        "stack": [hex(end) for end in fault.stack] if fault.stack else None,
        "caught": fault.handler,
        "object": bad
        and {
            "address": hex(bad.address),
            "register": bad.register,
            "count": hex(bad.count),
            "type": hex(bad.type_address),
            "why": bad.why,
        },
        "said": [{"source": source, "text": text} for source, text in fault.said],
    }


def worker_log(log: WorkerLog) -> Json:
    """What one log of its service tells of the process."""
    return {
        "file": log.file,
        "worker": log.worker,
        "lines": log.count,
        "began": _line(log.began),
        "last": [_line(line) for line in log.last],
        "words": [_line(line) for line in log.words],
        "death": _line(log.death),
    }


def _line(line: WorkerLine | None) -> Json | None:
    return {"line": line.at.line, "text": line.text} if line else None


def _module(module: CoreModule) -> Json:
    return {
        "path": module.path,
        "version": module.version,
        "base": hex(module.start),
        "build_id": module.build_id or None,
        "now": module.now,
        "deleted": module.deleted,
    }


def registers(core: CoreImage | None, tid: int) -> Json:
    """The registers of one thread."""
    for thread in core.threads if core else ():
        if thread.tid == tid:
            return {name: hex(value) for name, value in thread.registers}
    return {}
