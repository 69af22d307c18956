/* pthread locks of every kind, held by the main thread, each with a thread that sleeps on it.
 * Prints "NAME ADDRESS" and "tid_NAME TID" lines, then "ready". */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t normal, recursive, errorcheck, adaptive, robust, pi, shared, dead;
static pthread_rwlock_t written, written_too, read_held;
static pthread_cond_t cond;
static pthread_mutex_t cond_mutex;
static sem_t sem, shared_sem;
static FILE *stream;
static pthread_t sleeper;
static int started;

static void said(const char *name)
{
    dprintf(1, "tid_%s %ld\n", name, syscall(SYS_gettid));
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
}

#define BODY(name, call) static void *on_##name(void *x) { said(#name); call; return x; }
BODY(normal, pthread_mutex_lock(&normal))
BODY(recursive, pthread_mutex_lock(&recursive))
BODY(errorcheck, pthread_mutex_lock(&errorcheck))
BODY(adaptive, pthread_mutex_lock(&adaptive))
BODY(robust, pthread_mutex_lock(&robust))
BODY(pi, pthread_mutex_lock(&pi))
BODY(shared, pthread_mutex_lock(&shared))
BODY(dead, pthread_mutex_lock(&dead))
BODY(written, pthread_rwlock_wrlock(&written))
BODY(written_too, pthread_rwlock_rdlock(&written_too))
BODY(read_held, pthread_rwlock_wrlock(&read_held))
BODY(cond, (pthread_mutex_lock(&cond_mutex), pthread_cond_wait(&cond, &cond_mutex)))
BODY(sem, sem_wait(&sem))
BODY(shared_sem, sem_wait(&shared_sem))
BODY(stream, flockfile(stream))
BODY(sleeper, pthread_join(sleeper, NULL))

static void *taker(void *x)
{
    pthread_mutex_lock(&dead); /* and ends: its owner is a thread that is no more */
    return x;
}

static void *idle(void *x)
{
    pause();
    return x;
}

static void make(pthread_mutex_t *mutex, int type, int robust_too, int protocol, int is_shared)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    if (robust_too)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    if (protocol)
        pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    if (is_shared)
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &attr);
}

static void start(void *(*body)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, body, NULL);
}

int main(void)
{
    pthread_t gone;
    make(&normal, PTHREAD_MUTEX_NORMAL, 0, 0, 0);
    make(&dead, PTHREAD_MUTEX_NORMAL, 0, 0, 0);
    make(&recursive, PTHREAD_MUTEX_RECURSIVE, 0, 0, 0);
    make(&errorcheck, PTHREAD_MUTEX_ERRORCHECK, 0, 0, 0);
#ifdef __GLIBC__
    make(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP, 0, 0, 0);
#endif
    make(&robust, PTHREAD_MUTEX_NORMAL, 1, 0, 0);
    make(&pi, PTHREAD_MUTEX_NORMAL, 0, 1, 0);
    make(&shared, PTHREAD_MUTEX_NORMAL, 0, 0, 1);
    pthread_rwlock_init(&written, NULL);
    pthread_rwlock_init(&written_too, NULL);
    pthread_rwlock_init(&read_held, NULL);
    pthread_mutex_init(&cond_mutex, NULL);
    pthread_cond_init(&cond, NULL);
    sem_init(&sem, 0, 0);
    sem_init(&shared_sem, 1, 0);
    stream = fopen("/dev/null", "w");
    pthread_create(&gone, NULL, taker, NULL);
    pthread_join(gone, NULL);
    pthread_create(&sleeper, NULL, idle, NULL);

    pthread_mutex_lock(&normal);
    pthread_mutex_lock(&recursive);
    pthread_mutex_lock(&recursive);
    pthread_mutex_lock(&errorcheck);
    pthread_mutex_lock(&adaptive);
    pthread_mutex_lock(&robust);
    pthread_mutex_lock(&pi);
    pthread_mutex_lock(&shared);
    pthread_rwlock_wrlock(&written);
    pthread_rwlock_wrlock(&written_too);
    pthread_rwlock_rdlock(&read_held);
    pthread_rwlock_rdlock(&read_held);
    flockfile(stream);

    void *(*bodies[])(void *) = {on_normal, on_recursive, on_errorcheck, on_adaptive, on_robust, on_pi,
                                 on_shared, on_dead, on_written, on_written_too, on_read_held, on_cond,
                                 on_sem, on_shared_sem, on_stream, on_sleeper};
    int count = sizeof bodies / sizeof *bodies;
    for (int i = 0; i < count; i++)
        start(bodies[i]);
    while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < count)
        usleep(1000);
#define SHOW(name) dprintf(1, #name " %lu\n", (unsigned long)&name)
    SHOW(normal); SHOW(recursive); SHOW(errorcheck); SHOW(adaptive); SHOW(robust); SHOW(pi); SHOW(shared);
    SHOW(dead); SHOW(written); SHOW(written_too); SHOW(read_held); SHOW(cond); SHOW(sem); SHOW(shared_sem);
    dprintf(1, "ready\n");
    pause();
}
