"""Made before a fork, used after it: the child has the memory and the locks, but not the threads."""

from diag.rules.known.entry import Known

ENTRIES = (
    Known(
        name="grpc-fork",
        cause="gRPC was in use before the fork: the child has its locks and its poller, but not its threads",
        fix="make channels only after the fork (worker_process_init, lazy-apps), or set "
        "GRPC_ENABLE_FORK_SUPPORT=true and GRPC_POLL_STRATEGY=poll",
        reference="grpc/grpc#13260, grpc/grpc#22624",
        library=r"cygrpc|libgrpc|_grpc",
        forked=True,
    ),
    Known(
        name="grpc-fork-mutex",
        cause="gRPC was in use before the fork: a lock waits for a thread that does not exist in the child",
        fix="make channels only after the fork, or set GRPC_ENABLE_FORK_SUPPORT=true",
        reference="grpc/grpc#31240",
        said=r"mutex\.cc : \d+\] RAW: ",
        forked=True,
    ),
    Known(
        name="librdkafka-fork",
        cause="the Kafka handle was made before the fork, and its threads do not exist in the child",
        fix="make producers and consumers after the fork, and never destroy the parent's in the child",
        reference="confluentinc/librdkafka#1674, confluentinc/librdkafka#2374",
        library=r"librdkafka|cimpl\.",
        said=r"rdkafka\.c:\d+:rd_kafka_destroy",
        forked=True,
    ),
    Known(
        name="cuda-fork",
        cause="CUDA was initialised before the fork; its driver does not work in a forked child",
        fix="use the spawn start method, or touch CUDA only in the workers",
        reference="pytorch/pytorch#1355",
        library=r"libcuda(?:rt)?[.-]|libcublas|libcudnn|libnccl|libtorch_cuda",
        forked=True,
    ),
    Known(
        name="postgresql-connection-fork",
        cause="a PostgreSQL connection (or pool) opened before the fork is used by parent and children: two "
        "processes write one TLS stream",
        fix="dispose of the engine or close connections in the child; open pools in worker_process_init, "
        "with lazy-apps in uWSGI and without preload in gunicorn",
        reference="celery/celery#1564, psycopg/psycopg2#281",
        library=r"libpq[.-]|_psycopg|pq\.cpython",
        forked=True,
    ),
    Known(
        name="tls-connection-fork",
        cause="a TLS connection opened before the fork is used after it: parent and child each "
        "advance its keys",
        fix="open connections after the fork",
        reference="nautobot/nautobot#127",
        library=r"lib(?:ssl|crypto)(?:-[0-9a-f]{6,})?\.so",
        forked=True,
    ),
    Known(
        name="libxml2-fork",
        cause="libxml2's state was carried over a fork",
        fix="import lxml in the child only",
        reference="mitogen-hq/mitogen#454",
        library=r"etree\.|libxml2",
        program=r"mitogen|ansible|python",
        forked=True,
    ),
)
