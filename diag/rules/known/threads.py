"""One handle used by several threads."""

from diag.rules.known.entry import Known

ENTRIES = (
    Known(
        name="mysql-connection",
        cause="libmysqlclient and libmariadb allow one thread at a time per connection; a cursor or session "
        "shared through an executor breaks that",
        fix="open a session and a connection per thread (scoped_session, or a pool that lends to one thread)",
        reference="sqlalchemy/sqlalchemy#8488, PyMySQL/mysqlclient#556",
        library=r"(?:libmysqlclient|libmariadb|_mysql)",
        thread="other",
    ),
    Known(
        name="openssl-1.0-locks",
        cause="OpenSSL before 1.1 is safe for threads only where the program installed its locking callbacks",
        fix="use OpenSSL 1.1 or newer, or import Python's ssl module first: it installs them",
        reference="pixelated/pixelated-user-agent#690, PyMySQL/mysqlclient#132",
        library=r"lib(?:ssl|crypto)(?:-[0-9a-f]{6,})?\.so\.(?:0\.9|1\.0)|lib(?:ssl|crypto)\.so\.10\b",
        thread="other",
    ),
    Known(
        name="tls-closed-elsewhere",
        cause="a TLS connection that one thread closes while another still reads or writes it",
        fix="close it in the thread that uses it, or put a lock around every use",
        reference="pyca/pyopenssl#588",
        library=r"libssl(?:-[0-9a-f]{6,})?\.so\.(?:1\.1|3)|_ssl\.",
        thread="other",
    ),
    Known(
        name="curl-ssl-locks",
        cause="pycurl was built without knowing which TLS library libcurl uses, and sets no locks for it",
        fix="rebuild pycurl with PYCURL_SSL_LIBRARY set to libcurl's own",
        reference="pycurl/pycurl#619",
        library=r"pycurl\.",
        thread="other",
    ),
    Known(
        name="sqlite-connection",
        cause="a sqlite3 connection opened with check_same_thread=False is used by two threads at once",
        fix="open a connection per thread, or put one lock around every use",
        reference="python/cpython#146471",
        library=r"libsqlite3|_sqlite3\.",
        thread="other",
    ),
    Known(
        name="journal-reader",
        cause="a journal.Reader of python-systemd serves one thread only",
        fix="make a reader per thread",
        reference="systemd/python-systemd#143",
        library=r"libsystemd|_reader\.",
        thread="other",
    ),
)
