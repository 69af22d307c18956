"""Reference counts and the state of the interpreter."""

from diag.rules.known.entry import Known

ENTRIES = (
    Known(
        name="none-deallocated",
        cause="an extension gives None away without taking a reference; each call counts it down (Python "
        "before 3.12)",
        fix="update that extension, or run Python 3.12 or newer, where None does not die",
        reference="robinhood/faust#248",
        said=r"deallocating None",
    ),
    Known(
        name="uwsgi-environ",
        cause="uWSGI's wsgi-env-behavior = holy releases the environ dictionary once too often",
        fix="set wsgi-env-behavior = cheat, or use a uWSGI where it is fixed",
        reference="unbit/uwsgi#2280",
        said=r"python_plugin\.c:\d+: _Py_NegativeRefcount",
    ),
    Known(
        name="uwsgi-spooler",
        cause="uWSGI's spooler releases references that it only borrowed (before 2.0.18)",
        fix="update uWSGI",
        reference="unbit/uwsgi#1852",
        program=r"uwsgi",
        said=r"GC object already tracked|negative ref ?count",
        function=r"visit_decref|tuplehash|tupledealloc|tupletraverse|_PyObject_GC_\w+",
        library=r"(?:lib)?python|uwsgi|python\d*_plugin",
    ),
    Known(
        name="current-frames",
        cause="a sampler calls sys._current_frames() while uWSGI's thread states are half made "
        "(Python 3.11 up)",
        fix="set enable-threads, and switch the tracebacker or sampler off",
        reference="unbit/uwsgi#2646",
        function=r"_PyThread_CurrentFrames",
    ),
    Known(
        name="after-finalize",
        cause="C++ thread-local or atexit code runs after the interpreter is gone: only "
        "dying workers are hit",
        fix="update greenlet; in uWSGI set skip-atexit",
        reference="python-greenlet/greenlet#330",
        function=r".*DestroyQueueWithGIL.*|Py_FinalizeEx|uwsgi_plugins_atexit",
    ),
    Known(
        name="c-futures-3.6",
        cause="the C Task and Future of Python 3.6.0 and 3.6.1",
        fix="use Python 3.6.2 or newer",
        reference="home-assistant/core#7752",
        library=r"libpython3\.6|python3\.6",
        function=r"(?:Task|Future)Obj_\w+|task_\w+|future_\w+",
    ),
    Known(
        name="mariadb-pool-gil",
        cause="MariaDB Connector/Python raises an exception without the GIL when its pool is empty",
        fix="update the connector, and size the pool to the number of threads",
        reference="python/cpython#128934",
        library=r"_mariadb\.",
    ),
)
