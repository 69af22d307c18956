"""Who polls for a lock, and who only looks like it: told by the structure of the source alone."""

from __future__ import annotations

import pytest

from diag.model.facts import Frame
from diag.model.source import Ask, Source, Sure
from diag.waits.lock_sites import asking
from tests.waits.written import FILE, frame_at, locals_of, source_of, stack_of

POLLERS = {
    "sleeps in the except clause": """
        def take(f):
            while True:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except IOError:
                    time.sleep(0.1)  # HERE
        """,
    "sleeps in the except clause, Python 2": """
        def take(f):
            while 1:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    print "got it"
                    break
                except IOError, e:
                    print >>sys.stderr, `e`
                    time.sleep(0.1)  # HERE
        """,
    "sleeps after the try": """
        def take(fd):
            for attempt in xrange(600):
                try:
                    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return fd
                except (IOError, OSError) as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                time.sleep(0.1)  # HERE
            raise Timeout()
        """,
    "sleeps first": """
        def take(f):
            while True:
                time.sleep(0.1)  # HERE
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    pass
        """,
    "loop condition": """
        def take(lock):
            while not lock.acquire(blocking=False):
                time.sleep(0.1)  # HERE
        """,
    "loop condition on the same line": """
        def take(lock):
            while not lock.acquire(False): time.sleep(0.1)  # HERE
        """,
    "loop condition with a stop flag": """
        def take(lock, stop):
            while not stop.is_set() and not lock.try_lock():
                stop.wait(0.1)  # HERE
        """,
    "else branch": """
        def take(lock):
            while True:
                if lock.acquire(False):
                    return lock
                else:
                    time.sleep(0.1)  # HERE
        """,
    "if not, continue, and the loop releases it later": """
        def serve(lock):
            while True:
                if not lock.acquire(False):
                    time.sleep(0.1)  # HERE
                    continue
                try:
                    work()
                finally:
                    lock.release()
        """,
    "result in a variable": """
        def serve(lock):
            while True:
                got = lock.acquire(False)
                if not got:
                    time.sleep(0.1)  # HERE
                    continue
                work()
                lock.release()
        """,
    "flag set after the try": """
        def take(f):
            locked = False
            while not locked:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked = True
                except IOError:
                    pass
                time.sleep(0.1)  # HERE
        """,
    "exclusive creation": """
        def take(path):
            while True:
                try:
                    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    time.sleep(0.1)  # HERE
        """,
    "exclusive open": """
        def take(path):
            while True:
                try:
                    handle = open(path, "x")
                    break
                except OSError:
                    time.sleep(1)  # HERE
        """,
    "hard link": """
        def take(path):
            while True:
                try:
                    os.link(path + ".me", path)
                except OSError:
                    if time.time() > end:
                        raise
                    time.sleep(1)  # HERE
                else:
                    return
        """,
    "directory": """
        def take(path):
            while True:
                try:
                    os.mkdir(path)
                    break
                except OSError as error:
                    if error.errno != errno.EEXIST:
                        raise
                time.sleep(0.5)  # HERE
        """,
    "a helper of the same file tries": """
        def attempt(f):
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        def take(f):
            while not attempt(f):
                time.sleep(0.1)  # HERE
        """,
    "recursion": """
        def take(f):
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.1)  # HERE
                return take(f)
        """,
    "select as sleep, sliced": """
        def take(f):
            while True:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError:
                    for _ in range(10):
                        select.select([], [], [], 0.1)  # HERE
        """,
    "a with that refuses": """
        def take(path):
            while True:
                try:
                    with FileLock(path, timeout=0):
                        return work()
                except Timeout:
                    time.sleep(0.1)  # HERE
        """,
    "the library's own state": """
        def take(self):
            while True:
                with self._thread_lock:
                    if not self.is_locked:
                        self._acquire()
                if self.is_locked:
                    break
                elif timeout >= 0 and time.time() - start > timeout:
                    raise Timeout(self._lock_file)
                else:
                    time.sleep(0.05)  # HERE
        """,
}

HEALTHY = {
    "a worker that logs": """
        def take():
            while True:
                logging.info("still here")
                time.sleep(1)  # HERE
        """,
    "a poll loop": """
        def take(poller):
            while True:
                for fd, event in poller.poll(1000):  # HERE
                    handle(fd, event)
        """,
    "retry of a request": """
        def take(url):
            while True:
                try:
                    return requests.get(url)
                except ConnectionError:
                    time.sleep(1)  # HERE
        """,
    "a queue": """
        def take(queue):
            while True:
                try:
                    item = queue.get(timeout=1)  # HERE
                except Empty:
                    continue
        """,
    "takes, works, releases, then paces": """
        def take(lock):
            while True:
                lock.acquire()
                work()
                lock.release()
                time.sleep(1)  # HERE
        """,
    "flock, work, unlock, then paces": """
        def take(f):
            while True:
                fcntl.flock(f, fcntl.LOCK_EX)
                try:
                    work()
                finally:
                    fcntl.flock(f, fcntl.LOCK_UN)
                time.sleep(1)  # HERE
        """,
    "with, then paces": """
        def take(path):
            while True:
                with FileLock(path):
                    work()
                time.sleep(1)  # HERE
        """,
    "with and leave, then paces": """
        def take(self):
            while True:
                with self.lock:
                    if self.done:
                        break
                time.sleep(1)  # HERE
        """,
    "sleeps while it holds": """
        def take(path):
            with FileLock(path):
                while True:
                    time.sleep(1)  # HERE
        """,
    "sleeps after it got it": """
        def take(lock):
            while True:
                if lock.acquire(False):
                    time.sleep(60)  # HERE
                    lock.release()
        """,
    "sleeps after it got it, result in memory": """
        def take(lock):
            while True:
                got = lock.acquire(False)
                time.sleep(60)  # HERE
        """,
    "looks under a lock, then waits": """
        def take(self):
            while True:
                with self.lock() as items:
                    if items:
                        return items.pop()
                self.filled.wait()  # HERE
        """,
    "renews a lock": """
        def take(lock):
            while True:
                lock.renew_lock()
                time.sleep(5)  # HERE
        """,
    "looks whether it is locked": """
        def take(lock):
            while True:
                print(lock.is_locked(), clock(), block())
                time.sleep(5)  # HERE
        """,
    "waits for a process": """
        def take(child):
            while child.poll() is None:
                time.sleep(0.1)  # HERE
        """,
    "makes lock files for others": """
        def take():
            while True:
                make_lock("a")
                time.sleep(0.1)  # HERE
        """,
}


def ask_in(text: str, values: dict[str, str] | None = None) -> Ask | None:
    frame = frame_at(text, "serve" if "def serve" in text else "take", values=values)
    return asking(stack_of(frame), {FILE: source_of(text)})


@pytest.mark.parametrize("text", POLLERS.values(), ids=POLLERS)
def test_a_pause_between_two_tries_is_polling(text: str) -> None:
    ask = ask_in(text)
    assert ask is not None
    assert (ask.how, ask.sure) == ("polling", Sure.SOURCE)


@pytest.mark.parametrize("text", HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_thread_does_not_ask(text: str) -> None:
    assert ask_in(text, {"got": "True"}) is None


def test_a_failure_of_the_work_under_the_lock_is_only_a_pattern() -> None:
    text = """
        def take(path):
            while True:
                try:
                    with FileLock(path):
                        work()
                except Exception:
                    log.exception("will try again")
                    time.sleep(5)  # HERE
        """
    ask = ask_in(text)
    assert ask is None or ask.sure is Sure.PATTERN


def test_a_loop_that_only_takes_and_sleeps_is_only_a_pattern() -> None:
    text = """
        def take(self):
            while self.running:
                self.lock.acquire()
                time.sleep(1)  # HERE
        """
    ask = ask_in(text)
    assert ask is None or ask.sure is Sure.PATTERN


BLOCKED = {
    "flock": "fcntl.flock(f, fcntl.LOCK_EX)  # HERE",
    "lockf in a condition": "if fcntl.lockf(f, fcntl.LOCK_EX):  # HERE\n        pass",
    "acquire": "self.lock.acquire()  # HERE",
    "with": "with self.lock:  # HERE\n        work()",
    "second item": "with open(p) as g, \\\n            self.lock:  # HERE\n        work()",
}


@pytest.mark.parametrize("line", BLOCKED.values(), ids=BLOCKED)
def test_the_innermost_line_may_block(line: str) -> None:
    text = f"def take(self, f):\n    {line}\n"
    ask = asking(stack_of(frame_at(text, "take")), {FILE: source_of(text)})
    assert ask is not None
    assert ask.how == "blocked"


@pytest.mark.parametrize(
    "call", ["fcntl.flock(f, LOCK_EX | LOCK_NB)", "lock.acquire(False)", "lock.release()"]
)
def test_a_call_that_never_waits_does_not_block(call: str) -> None:
    text = f"def take(lock, f):\n    {call}  # HERE\n"
    assert asking(stack_of(frame_at(text, "take")), {FILE: source_of(text)}) is None


def test_the_kernel_s_word_is_enough_without_source() -> None:
    stack = stack_of(Frame(function="work", file="/gone.py", line=3))
    assert asking(stack, {}) is None
    ask = asking(stack, {}, blocked=True)
    assert ask is not None
    assert (ask.asker, ask.lock, ask.sure) == (0, "unknown", Sure.PATTERN)


def test_without_its_source_a_lock_is_known_by_name_only() -> None:
    lock = locals_of({"*self": "<UnixFileLock at 0x70>", "lock_filename": '"/run/a.lock"'})
    frames = (
        Frame(function="BaseFileLock.acquire", file="/lib/fl/_api.py", line=9, locals=lock),
        Frame(function="BaseFileLock.__enter__", file="/lib/fl/_api.py", line=5, locals=lock[:1]),
        Frame(function="rotate", file=FILE, line=7),
    )
    ask = asking(stack_of(*frames), {})
    assert ask is not None
    assert (ask.asker, ask.where.line, ask.paths) == (2, 7, ("/run/a.lock",))
    assert (ask.lock, ask.sure) == ("file", Sure.PATTERN)


def test_source_that_has_changed_is_only_a_pattern() -> None:
    text = POLLERS["sleeps in the except clause"]
    changed = Source(file=FILE, text=source_of(text).text, changed=True)
    ask = asking(stack_of(frame_at(text, "take")), {FILE: changed})
    assert ask is not None
    assert ask.sure is Sure.PATTERN


def test_source_that_does_not_fit_the_frame_says_nothing() -> None:
    text = POLLERS["sleeps in the except clause"]
    assert asking(stack_of(frame_at(text, "somebody_else")), {FILE: source_of(text)}) is None


def test_a_lock_server_is_not_a_lock_on_a_file() -> None:
    text = """
        class Lock:
            def acquire(self, blocking=True):
                while True:
                    if self.do_acquire(token):
                        return True
                    if not blocking:
                        return False
                    mod_time.sleep(0.1)  # HERE

            def do_acquire(self, token):
                return bool(self.redis.set(self.name, token, nx=True))

        def work(lock):
            lock.acquire()  # OUTER
        """
    frames = (
        frame_at(text, "Lock.acquire", values={"*self": "<Lock at 0x7>", "token": '"ab12"'}),
        frame_at(text, "work", "OUTER", values={"*lock": "<Lock at 0x7>"}),
    )
    ask = asking(stack_of(*frames), {FILE: source_of(text)})
    assert ask is not None
    assert (ask.lock, ask.asker, ask.expression) == ("unknown", 1, "lock.acquire()")


RETRY = """
    def __call__(self, fn, *args, **kwargs):
        while True:
            try:
                return fn(*args, **kwargs)
            except Exception:
                self.sleep(1)  # HERE
    """


@pytest.mark.parametrize(
    ("call", "lock"),
    [
        ("take_lock(path)", "file"),
        ("retry(self._try_acquire, path)", "unknown"),
        ("fetch(url)", None),
        ("restock(shelf)", None),
    ],
)
def test_a_retry_helper_asks_for_what_it_was_given(call: str, lock: str | None) -> None:
    text = f"""
        @retry
        def take_lock(path):
            fcntl.flock(os.open(path, 2), fcntl.LOCK_EX | fcntl.LOCK_NB)

        def work(self, path):
            {call}  # HERE
        """
    frames = (frame_at(RETRY, "__call__", file="/lib/retry.py"), frame_at(text, "work"))
    sources = {FILE: source_of(text), "/lib/retry.py": source_of(RETRY, "/lib/retry.py")}
    ask = asking(stack_of(*frames), sources)
    assert (ask.lock if ask else None) == lock
    assert ask is None or ask.expression in (call, "self._try_acquire")


def test_with_and_body_on_one_line_is_asked_for_where_the_kernel_says_so() -> None:
    text = """
        def move(source, target):
            with target.lock: pass  # HERE
        """
    stack = stack_of(frame_at(text, "move", values={"target*": "<Account at 0x77>"}))
    ask = asking(stack, {FILE: source_of(text)}, blocked=True)
    assert ask is not None
    assert (ask.expression, ask.target) == ("target.lock", "target.lock")


MAKER = """
    def locked(path):
        lock = open(path, "w")
        fcntl.flock(lock, fcntl.LOCK_EX)  # INNER
        return lock

    def job(path):
        other = load(path)
        with locked(path):  # OUTER
            other.work()

    def plain(path):
        locked(path)  # CALL
    """


@pytest.mark.parametrize(("function", "mark", "asker"), [("job", "OUTER", 1), ("plain", "CALL", 0)])
def test_who_enters_what_a_function_returns_locked_is_the_asker(function: str, mark: str, asker: int) -> None:
    """Taken there as well: the lock is kept as long as the body of that ``with`` runs."""
    stack = stack_of(frame_at(MAKER, "locked", "INNER"), frame_at(MAKER, function, mark))
    ask = asking(stack, {FILE: source_of(MAKER)}, blocked=True)
    assert ask is not None
    assert ask.asker == asker
    assert ask.where.function == stack.frames[asker].function


def test_a_program_called_lock_something_is_not_the_lock_s_own_module() -> None:
    text = """
        def work(path):
            fcntl.flock(open(path), fcntl.LOCK_EX)  # INNER

        run(work)  # MODULE
        """
    file, runner = "/srv/lock_cycle.py", Frame(function="run", file="/srv/runner.py", line=3)
    inner = frame_at(text, "work", "INNER", file=file)
    called = stack_of(inner, runner, frame_at(text, "<module>", "MODULE", file=file))
    ask = asking(called, {file: source_of(text, file)}, blocked=True)
    assert ask is not None
    assert (ask.asker, ask.where.line) == (0, inner.line)
