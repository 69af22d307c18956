"""The reader on memory that lies: random bytes, cycles, sizes beyond all measure. It answers, and soon."""

from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.collectors import native_lock
from diag.collectors.maps import Mapping
from diag.collectors.pyobjects import (
    asyncio_tasks,
    files,
    frames,
    futures,
    greenlets,
    image,
    interpreter,
    lines,
    locks,
    pools,
    queues,
    threads,
)
from diag.collectors.pyobjects.layouts import (
    FLAG_DICT,
    FLAG_LIST,
    FLAG_LONG,
    FLAG_MANAGED_DICT,
    FLAG_TUPLE,
    FLAG_TYPE,
    FLAG_UNICODE,
    LAYOUTS,
    Layout,
)
from diag.collectors.pyobjects.memory import MOST_READS, Memory
from diag.collectors.pyobjects.reader import Reader
from diag.host.tape import TapedHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.host import HostInfo

pytestmark = pytest.mark.hostile

BASE = 0x7F0000000000
SIZE = 1 << 16
EVERY = list(LAYOUTS.values())


class Bytes(TapedHost):
    """A process whose memory is these bytes, and nothing else."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    @property
    def info(self) -> HostInfo:
        raise NotImplementedError

    def sleep(self, seconds: float) -> None:
        """Nothing moves here."""

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        assert path == "/proc/1/mem"
        assert 0 <= offset < 1 << 63
        self.reads += 1
        if not BASE <= offset < BASE + len(self.data):
            raise OSError(5, "Input/output error")
        return self.data[offset - BASE : offset - BASE + size]


class Builder:
    """Writes objects into a piece of memory, well-formed until told otherwise."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.data = bytearray(SIZE)
        self.next = 0x1000
        self.type = self.new(1024)
        self.put(self.type, 1, self.type, 0)
        self.kind(self.type, "type", FLAG_TYPE)

    def new(self, size: int) -> int:
        at = self.next
        self.next += (size + 15) & ~15
        return BASE + at

    def put(self, address: int, *words: int) -> None:
        struct.pack_into(f"<{len(words)}Q", self.data, address - BASE, *(word % (1 << 64) for word in words))

    def kind(self, address: int, name: str, flags: int) -> int:
        text = self.new(len(name) + 1)
        self.data[text - BASE : text - BASE + len(name)] = name.encode()
        self.put(address, 1, self.type, 0, text, 64, 0)
        self.put(address + 168, flags)
        return address

    def a_type(self, name: str, flags: int = 0) -> int:
        return self.kind(self.new(1024), name, flags)

    def reader(self) -> Reader:
        return Reader(Memory(Bytes(bytes(self.data)), 1), self.layout)


READS: list[Callable[[Reader, int], object]] = [
    Reader.look,
    Reader.class_names,
    Reader.attributes,
    lambda reader, address: reader.attribute(address, "name", "_lock"),
    Reader.value,
    Reader.items,
    Reader.elements,
    Reader.length,
    Reader.text,
    Reader.integer,
    Reader.target,
    locks.describe,
    queues.describe,
    futures.describe,
    pools.describe,
    threads.thread,
    asyncio_tasks.task,
    asyncio_tasks.describe,
    greenlets.greenlet,
    files.describe,
    files.facts_of,
    frames.chain,
    frames.function_where,
    lambda reader, address: list(frames.back_chain(reader, address)),
    locks.parked_on,
]


NAMES = (
    *("dict", "list", "tuple", "set", "str", "function", "weakref", "coroutine", "frame", "code", "instance"),
    *("collections.deque", "_thread.lock", "_thread.RLock", "threading.Condition", "_asyncio.Task"),
    *("queue.Queue", "_queue.SimpleQueue", "greenlet.greenlet", "_io.TextIOWrapper"),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), layout=st.sampled_from(EVERY))
def test_random_memory_full_of_pointers_into_itself(seed: int, layout: Layout) -> None:
    chance = random.Random(seed)
    builder = Builder(layout)
    flags = [0, FLAG_DICT, FLAG_LIST, FLAG_TUPLE, FLAG_UNICODE, FLAG_LONG, FLAG_TYPE, FLAG_MANAGED_DICT | 4]
    kinds = [builder.a_type(name, chance.choice(flags)) for name in NAMES]
    for at in range(builder.next, SIZE, 8):
        anywhere = BASE + chance.randrange(0, SIZE, 8)
        words = [anywhere, chance.choice(kinds), chance.choice(kinds), at % 40, chance.getrandbits(64)]
        builder.put(BASE + at, chance.choice(words))
    for kind in kinds:  # hostile types: bases, dictionaries, members, offsets point anywhere
        for offset in (240, 256, 264, 288, 344, layout.cached_keys):
            builder.put(kind + offset, BASE + chance.randrange(0, SIZE, 8))
    reader = builder.reader()
    start = time.monotonic()
    objects = [at for at in range(BASE + builder.next, BASE + SIZE, 8) if reader.look(at)]
    assert len(objects) > 500  # the lies are good enough to be followed
    for address in chance.sample(objects, 40):
        for read in READS:
            read(reader, address)
    assert time.monotonic() - start < 20


@settings(max_examples=50, deadline=None)
@given(data=st.binary(min_size=200, max_size=2000), layout=st.sampled_from(EVERY))
def test_random_bytes(data: bytes, layout: Layout) -> None:
    reader = Reader(Memory(Bytes(data * 20), 1), layout)
    for address in (BASE, BASE + 8, BASE + 64, 0, 1, -8, 1 << 63, (1 << 64) - 8, BASE + len(data)):
        for read in READS:
            read(reader, address)
    mapping = Mapping(BASE, BASE + len(data), "rw-p", 0, "/usr/bin/python3.9")
    assert isinstance(interpreter.find(reader.memory, [mapping]), interpreter.Missing)


@settings(max_examples=30, deadline=None)
@given(head=st.binary(min_size=0, max_size=400))
def test_an_image_that_lies(head: bytes) -> None:
    memory = Memory(Bytes((b"\x7fELF\x02\x01" + head).ljust(4096, b"\xff")), 1)
    mapping = Mapping(BASE, BASE + 4096, "r--p", 0, "/usr/lib/libpython3.9.so.1.0")
    if loaded := image.load(memory, mapping):
        image.symbol(memory, loaded, "PyType_Type")


@pytest.mark.parametrize("layout", EVERY, ids=lambda layout: ".".join(map(str, layout.version)))
def test_containers_of_impossible_size(layout: Layout) -> None:
    builder = Builder(layout)
    huge = (1 << 62) - 1
    for name, flags in (("dict", FLAG_DICT), ("list", FLAG_LIST), ("tuple", FLAG_TUPLE), ("set", 0)):
        address = builder.new(64)
        builder.put(address, 1, builder.a_type(name, flags), huge, huge, address, address, address)
        reader = builder.reader()
        assert len(reader.elements(address)) <= 10_000
        assert len(reader.items(address)) <= 10_000
        reader.value(address)
        assert reader.memory._reads < 50


def test_a_ring_of_lists_ends() -> None:
    builder = Builder(LAYOUTS[3, 12])
    kind = builder.a_type("list", FLAG_LIST)
    rings = [builder.new(48) for _ in range(50)]
    slots = builder.new(8 * 50)
    builder.put(slots, *rings)
    for ring in rings:  # each holds all of them, itself too: 50 ** depth ways through
        builder.put(ring, 1, kind, 50, slots, 50)
    start = time.monotonic()
    builder.reader().value(rings[0], depth=50)
    assert time.monotonic() - start < 5


def test_a_deque_in_a_ring_ends() -> None:
    builder = Builder(LAYOUTS[3, 12])
    block = builder.new(8 * 66)
    builder.put(block, block, *([block] * 64), block)
    address = builder.new(64)
    builder.put(address, 1, builder.a_type("collections.deque"), 1 << 39, block, block, 0, 0)
    assert len(builder.reader().elements(address)) == 10_000


def test_memory_has_an_end() -> None:
    host = Bytes(bytes(64))
    memory = Memory(host, 1)
    for at in range(MOST_READS + 10):
        memory.read(BASE + 2**20 + at, 8)
    assert memory.exhausted
    assert host.reads == MOST_READS
    assert memory.read(BASE, 8) is None


def test_devices_and_shared_files_are_not_read() -> None:
    host = Bytes(bytes(SIZE))
    maps = [
        Mapping(BASE, BASE + 0x1000, "rw-s", 0, "/dev/dri/card0"),
        Mapping(BASE + 0x2000, BASE + 0x3000, "rw-s", 0, "/mnt/nfs/file"),
        Mapping(BASE + 0x4000, BASE + 0x5000, "rw-s", 0, "/dev/shm/sem.x (deleted)"),
        Mapping(BASE + 0x6000, BASE + 0x7000, "rw-p", 0, ""),
    ]
    memory = Memory(host, 1, maps)
    assert memory.read(BASE + 8, 8) is None
    assert memory.read(BASE + 0x1FF8, 16) is None
    assert memory.read(BASE + 0x2FF8, 8) is None
    assert memory.read(BASE + 0x4000, 8) == bytes(8)
    assert memory.read(BASE + 0x6000, 8) == bytes(8)
    assert host.reads == 2


@given(
    form=st.sampled_from(["lnotab", "lines", "locations"]),
    table=st.binary(max_size=300),
    offset=st.integers(0, 1 << 24),
)
def test_line_tables_of_any_kind(form: str, table: bytes, offset: int) -> None:
    assert isinstance(lines.line_of(form, table, 1, offset), int)


@given(
    before=st.one_of(st.just(b""), st.binary(min_size=48, max_size=48)),
    after=st.binary(min_size=4, max_size=96),
    operation=st.sampled_from([0x80, 0x189, 0x109, 0x89, 0, 0x86, 6, 5, 0xFFFFFFFF]),
    value=st.sampled_from([0, 1, 2, 77, 0x8000004D, 0xFFFFFFFF]),
)
def test_native_locks_of_any_shape(before: bytes, after: bytes, operation: int, value: int) -> None:
    asked = native_lock.Asked(BASE, operation, value, before, after, frozenset({77}))
    found = native_lock.interpret(asked)
    assert found.owner_lives in (None, True, False)
    assert (found.owner_tid is None) == (found.owner_lives is None)
