"""Where CPython keeps what, version by version: one table, for 64-bit little-endian builds with the GIL.

Offsets are in bytes, from each version's own headers (compiled with offsetof for 2.7.18, 3.6.15, 3.7.16,
3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1 and 3.13.0; 3.14 read in published bindings, never run here).
A layout is believed only after ``sys.hexversion``, read by means of it, names its own version.

The same in all of them: PyObject {refcnt 0, type 8}, PyVarObject {size 16}, and most of PyTypeObject.
"""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """One version. Defaults are those of 3.6 to 3.10."""

    version: tuple[int, int]
    # dict: "table" of entries (2.7), "indices" before entries (3.6), "log2" sizes (3.11: bpo-46845)
    dict_form: str = "indices"
    values_at: int = 0  # of the values in PyDictValues; 3.13 put four bytes and padding before them
    managed: str = ""  # where instances keep attributes: "pair" 3.11, "tagged" 3.12, "inline" 3.13
    gc_head: int = 16  # sizeof PyGC_Head, which lies before the object; 32 before 3.8
    cached_keys: int = 872  # PyHeapTypeObject.ht_cached_keys
    int_digits: int = 24
    int_tagged: bool = False  # 3.12: lv_tag instead of a signed size
    ascii_data: int = 48  # sizeof PyASCIIObject; 3.12 dropped wstr
    compact_data: int = 72  # sizeof PyCompactUnicodeObject
    tuple_items: int = 24  # 3.14 put the hash before them
    function_code: int = 48
    function_globals: int = 16
    code_name: int = 112
    code_file: int = 104
    code_first_line: int = 40
    code_lines: int = 120
    lines_form: str = "lnotab"  # "lines" 3.10 (PEP 626), "locations" 3.11 (PEP 657)
    code_instructions: int = 0  # 3.11: the byte code lies in the code object
    code_names: tuple[int, ...] = (72, 88, 80)  # varnames, cellvars, freevars; 3.11: localsplusnames
    code_slots: int = 0  # 3.11: co_nlocalsplus
    code_globals: int = 64  # co_names
    frame_code: int = 32
    frame_globals: int = 48
    frame_back: int = 24
    frame_last: int = 104  # f_lasti; 3.11: prev_instr, 3.13: instr_ptr
    frame_top: int = 72  # f_stacktop; 3.10: f_stackdepth; 3.11: stacktop
    frame_locals: int = 360  # localsplus
    frame_stack: int = 64  # f_valuestack
    frame_entry: int = 0  # 3.11: whether C called it
    frame_owner: int = 0  # 3.12: 3 and above are frames of the interpreter itself, on the C stack
    generator_frame: int = 16  # gi_frame; 3.11: the frame lies in the generator
    frame_state: int = 0  # 3.11: gi_frame_state
    has_frame_object: bool = True
    thread_interpreter: int = 16  # PyThreadState.interp
    interpreter_threads: int = 8  # PyInterpreterState's first thread
    runtime_head: int = 0  # _PyRuntime.interpreters.head; 0: there is no _PyRuntime
    interpreter_sys: int = 0  # PyInterpreterState.sysdict
    parking: bool = False  # 3.14: Lock and RLock are a PyMutex; before, they hold a semaphore
    deque_form: str = "sized"  # "plain" 2.7


_OLD = Layout(
    version=(2, 7),
    dict_form="table",
    gc_head=32,
    cached_keys=0,
    function_code=16,
    function_globals=24,
    code_name=88,
    code_file=80,
    code_first_line=96,
    code_lines=104,
    code_names=(56, 72, 64),
    code_globals=48,
    frame_last=120,
    frame_locals=376,
    thread_interpreter=8,
    interpreter_sys=24,
    deque_form="plain",
)
_36 = Layout(
    version=(3, 6),
    gc_head=32,
    cached_keys=856,
    function_code=16,
    function_globals=24,
    code_name=104,
    code_file=96,
    code_first_line=36,
    code_lines=112,
    code_names=(64, 80, 72),
    code_globals=56,
    frame_last=120,
    frame_locals=376,
    interpreter_sys=32,
)
_37 = _36._replace(version=(3, 7), frame_last=104, frame_locals=360, runtime_head=24, interpreter_sys=56)
_38 = _37._replace(
    version=(3, 8),
    gc_head=16,
    cached_keys=872,
    code_name=112,
    code_file=104,
    code_first_line=40,
    code_lines=120,
    code_names=(72, 88, 80),
    code_globals=64,
    runtime_head=32,
    interpreter_sys=72,
)
_39 = _38._replace(version=(3, 9), cached_keys=864, interpreter_sys=872)
_310 = _39._replace(
    version=(3, 10),
    cached_keys=872,
    function_code=48,
    function_globals=16,
    lines_form="lines",
    frame_last=96,
    frame_top=80,
    frame_locals=352,
)
_311 = Layout(
    version=(3, 11),
    dict_form="log2",
    managed="pair",
    code_name=120,
    code_file=112,
    code_first_line=72,
    code_lines=136,
    lines_form="locations",
    code_instructions=184,
    code_names=(96,),
    code_slots=76,
    code_globals=32,
    frame_code=32,
    frame_globals=8,
    frame_back=48,
    frame_last=56,
    frame_top=64,
    frame_locals=72,
    frame_entry=68,
    generator_frame=80,
    frame_state=75,
    has_frame_object=False,
    interpreter_threads=16,
    runtime_head=40,
    interpreter_sys=904,
)
_312 = _311._replace(
    version=(3, 12),
    managed="tagged",
    cached_keys=880,
    int_tagged=True,
    ascii_data=40,
    compact_data=56,
    code_first_line=68,
    code_slots=72,
    code_instructions=192,
    frame_code=0,
    frame_globals=24,
    frame_back=8,
    frame_entry=0,
    frame_owner=70,
    generator_frame=72,
    frame_state=67,
    interpreter_threads=72,
    interpreter_sys=352,
)
_313 = _312._replace(
    version=(3, 13),
    managed="inline",
    values_at=8,
    code_instructions=200,
    interpreter_threads=7344,
    runtime_head=632,
    interpreter_sys=7640,
)
_314 = _313._replace(
    version=(3, 14),
    tuple_items=32,
    code_instructions=208,
    frame_owner=74,
    frame_locals=80,
    parking=True,
    runtime_head=0,
)

LAYOUTS = {layout.version: layout for layout in (_OLD, _36, _37, _38, _39, _310, _311, _312, _313, _314)}

COOKIE = b"xdebugpy"
"""3.13 and later begin _PyRuntime with this cookie and a table of their own offsets."""

FLAG_INLINE_VALUES = 1 << 2
FLAG_MANAGED_DICT = 1 << 4
FLAG_HEAP = 1 << 9
FLAG_GC = 1 << 14
FLAG_INT_OLD = 1 << 23
FLAG_LONG = 1 << 24
FLAG_LIST = 1 << 25
FLAG_TUPLE = 1 << 26
FLAG_BYTES = 1 << 27
FLAG_UNICODE = 1 << 28
FLAG_DICT = 1 << 29
FLAG_TYPE = 1 << 31

TYPE_SIZE = 352  # bytes of PyTypeObject up to and with tp_mro
TYPE_NAME, TYPE_BASIC, TYPE_ITEM, TYPE_FLAGS = 24, 32, 40, 168
TYPE_MEMBERS, TYPE_BASE, TYPE_DICT, TYPE_DICT_OFFSET, TYPE_MRO = 240, 256, 264, 288, 344
