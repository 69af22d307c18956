"""A database server for one demo: its own files and socket, no network, gone with the demo's directory.

Whoever may enter the directory may log in; it belongs to the user of the demo alone.
"""

import os
import pwd
import signal
import subprocess
import time
from contextlib import suppress

BINARY = os.environ.get("DEMO_SERVER", "")
NOBODY = 65534
FOREVER = 100000  # seconds: the incident stays as long as somebody looks at it
PATIENCE = 40.0  # seconds

TABLE = (
    "create table account (id int primary key, balance int)",
    "insert into account values (1, 1000)",
)


def start_server(directory):
    """Start the server and return it once it answers; see ``connect``."""
    begin = _mariadb if "mariadb" in os.path.basename(BINARY) else _postgres
    process = begin(directory)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = connect(directory, "")
            break
        except Exception:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    for statement in (*_schema(), *TABLE):
        connection.cursor().execute(statement)
    connection.commit()
    connection.close()
    return process


def connect(directory, database="shop"):
    """Log in; a transaction begins with the first statement."""
    if _is_mariadb():
        import pymysql

        return pymysql.connect(unix_socket=f"{directory}/server/socket", user="demo", database=database or None)
    import psycopg

    return psycopg.connect(host=f"{directory}/server", user="demo", dbname="postgres")


def stop(process):
    """End the server at once: PostgreSQL, when killed, leaves a segment of shared memory."""
    process.send_signal(signal.SIGKILL if _is_mariadb() else signal.SIGQUIT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(3)


def dsn(directory):
    """The same for diag."""
    if _is_mariadb():
        return f"mysql://demo@/?socket={directory}/server/socket"
    return f"postgresql://demo@/postgres?host={directory}/server"


def waiting(connection):
    """How many sessions wait for a lock, as the server says."""
    cursor = connection.cursor()
    cursor.execute(
        "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'"
        if _is_mariadb()
        else "select count(*) from pg_locks where not granted"
    )
    (count,) = cursor.fetchone()
    connection.rollback()
    return count


def _is_mariadb():
    return "mariadb" in os.path.basename(BINARY)


def _schema():
    return ("create database shop", "use shop") if _is_mariadb() else ()


def _mariadb(directory):
    home = f"{directory}/server"
    for place in (home, f"{home}/data", f"{home}/tmp"):
        os.mkdir(place, 0o700)
    user = pwd.getpwuid(os.getuid()).pw_name if os.getuid() == 0 else None
    return _run(
        [
            BINARY, "--no-defaults", f"--datadir={home}/data", f"--tmpdir={home}/tmp",
            f"--socket={home}/socket", f"--pid-file={home}/pid", f"--log-error={home}/log",
            # No tables of users, which take seconds to make: the directory's rights keep others out.
            "--skip-grant-tables", "--skip-networking", "--skip-log-bin",
            "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-use-native-aio=0",
            f"--innodb-lock-wait-timeout={FOREVER}",
            *([f"--user={user}"] if user else []),
        ]
    )


def _postgres(directory):
    home, options = f"{directory}/server", {}
    os.mkdir(home, 0o700)
    if os.getuid() == 0:  # it refuses to run as root
        os.chmod(directory, 0o711)
        os.chown(home, NOBODY, NOBODY)
        options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    made = subprocess.run(
        [
            os.path.join(os.path.dirname(BINARY), "initdb"), f"--pgdata={home}/data", "--username=demo",
            "--auth=trust", "--no-sync", "--locale=C",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, cwd="/", **options,
    )
    if made.returncode:
        raise SystemExit("initdb: " + made.stderr.decode("utf-8", "replace").strip())
    settings = ("listen_addresses=", f"unix_socket_directories={home}", "port=5432", "fsync=off",
                "shared_buffers=8MB", "max_connections=60", "autovacuum=off")
    words = [word for setting in settings for word in ("-c", setting)]
    return _run([BINARY, "-D", f"{home}/data", *words], **options)


def _run(argv, **options):
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **options
    )
