"""Stack, memory and processor."""

from diag.rules.known.entry import Known

ENTRIES = (
    Known(
        name="wheel-needs-avx",
        cause="the wheel was built for AVX, AVX2 or SSE4 instructions, which this processor or hypervisor "
        "does not offer",
        fix="install a build for older processors (polars-lts-cpu), or pass the host's CPU model through",
        reference="tensorflow/tensorflow#45744, pola-rs/polars#12754",
        library=r"libtensorflow|_pywrap_tensorflow|.*polars|libtorch|_multiarray_umath|.*openblas|.*\.cpython-|"
        r".*\.abi3\.so",
        signals=frozenset({4}),
    ),
    Known(
        name="shared-memory-full",
        cause="shared memory (/dev/shm) is full: touching a page of it that can not be given is a bus error",
        fix="raise it: docker run --shm-size, or ipc: host",
        reference="pytorch/pytorch#1355",
        said=r"DataLoader worker .* Bus error",
        library=r"libtorch|libc10|libshm",
        signals=frozenset({7}),
    ),
    Known(
        name="v8-heap-limit",
        cause="V8 reached the limit of its own heap, which it sets by the memory it finds or by "
        "--max-old-space-size: the machine may have memory left",
        fix="see what grows (node --heapsnapshot-near-heap-limit=1); raise --max-old-space-size only as far "
        "as the container's limit allows",
        reference="nodejs/node#33339",
        said=r"JavaScript heap out of memory",
        signals=frozenset({6}),
    ),
    Known(
        name="musl-thread-stack",
        cause="musl gives threads 128 KiB of stack; deep C recursion (re, json, ssl) overruns it",
        fix="threading.stack_size(2 * 1024 * 1024) before threads start, or an image with glibc",
        reference="docker-library/python#211",
        library=r"ld-musl",
        thread="other",
    ),
)
