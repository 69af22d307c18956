/* Locks of the C library that nobody can release any more, and some that only look like it. argv: CASE. */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t both;
static struct shared {
    pthread_mutex_t first, second;
    sem_t places;
    pthread_barrier_t met;
} *shared;

static void ready(void) {
    puts("ready");
    fflush(stdout);
}

static void *ends_with_lock(void *none) {
    pthread_mutex_lock(&one);
    return none;
}

static void *waits_inside(void *none) {
    pthread_mutex_lock(&two);
    pthread_mutex_lock(&one);
    pthread_barrier_wait(&both);
    pthread_cond_wait(&called, &one);
    return none;
}

static void *reads_then_locks(void *none) {
    pthread_rwlock_rdlock(&rw);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&one);
    return none;
}

static void *idles(void *none) {
    pthread_mutex_lock(&one);
    for (;;) pthread_cond_wait(&called, &one);
    return none;
}

static void *works(void *none) {
    pthread_rwlock_rdlock(&rw);
    pthread_barrier_wait(&both);
    sleep(1000);
    return none;
}

static void share(void) {
    pthread_mutexattr_t mutex;
    pthread_barrierattr_t barrier;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->first, &mutex);
    pthread_mutex_init(&shared->second, &mutex);
    pthread_barrier_init(&shared->met, &barrier, 2);
    sem_init(&shared->places, 1, 1);
}

static void on_term(int number) { (void)number; }

int main(int argc, char **argv) {
    const char *way = argv[argc - 1];
    pthread_t thread;
    pthread_barrier_init(&both, NULL, 2);
    if (!strcmp(way, "ended_thread")) {
        pthread_create(&thread, NULL, ends_with_lock, NULL);
        pthread_join(thread, NULL);
        ready();
        pthread_mutex_lock(&one);
    } else if (!strcmp(way, "nested_monitor")) { /* who would call needs the outer lock */
        pthread_create(&thread, NULL, waits_inside, NULL);
        pthread_barrier_wait(&both);
        ready();
        pthread_mutex_lock(&two);
    } else if (!strcmp(way, "reader_and_writer")) {
        pthread_mutex_lock(&one);
        pthread_create(&thread, NULL, reads_then_locks, NULL);
        pthread_barrier_wait(&both);
        ready();
        pthread_rwlock_wrlock(&rw);
    } else if (!strcmp(way, "upgrade")) {
        pthread_rwlock_rdlock(&rw);
        ready();
        pthread_rwlock_wrlock(&rw);
    } else if (!strcmp(way, "shared_dead")) {
        share();
        if (!fork()) {
            pthread_mutex_lock(&shared->first);
            _exit(0);
        }
        wait(NULL);
        ready();
        pthread_mutex_lock(&shared->first);
    } else if (!strcmp(way, "shared_ring") || !strcmp(way, "shared_works")) {
        share();
        pid_t child = fork();
        if (!child) {
            pthread_mutex_lock(&shared->first);
            pthread_barrier_wait(&shared->met);
            if (!strcmp(way, "shared_works")) sleep(1000);
            pthread_mutex_lock(&shared->second);
        }
        pthread_mutex_lock(&shared->second);
        pthread_barrier_wait(&shared->met);
        printf("child %d\n", child);
        ready();
        pthread_mutex_lock(&shared->first);
    } else if (!strcmp(way, "places_lost")) {
        share();
        if (!fork()) {
            sem_wait(&shared->places);
            _exit(0);
        }
        wait(NULL);
        ready();
        sem_wait(&shared->places);
    } else if (!strcmp(way, "idle")) { /* workers without work, and a main program that waits to be killed */
        sem_t stop;
        sem_init(&stop, 0, 0);
        pthread_create(&thread, NULL, idles, NULL);
        ready();
        sem_wait(&stop);
    } else if (!strcmp(way, "reader_works")) {
        pthread_create(&thread, NULL, works, NULL);
        pthread_barrier_wait(&both);
        ready();
        pthread_rwlock_wrlock(&rw);
    } else if (!strcmp(way, "told_by_signal")) {
        signal(SIGTERM, on_term);
        pthread_create(&thread, NULL, waits_inside, NULL);
        pthread_barrier_wait(&both);
        ready();
        pthread_mutex_lock(&two);
    }
    return 0;
}
