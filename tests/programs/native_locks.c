/* Threads that wait for pthread locks. Last argument: abba | fork | held (healthy: the holder works). */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

static void *take(void *first) {
    pthread_mutex_t *second = first == &one ? &two : &one;
    pthread_mutex_lock(first);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(second);
    return NULL;
}

static void *hold(void *lock) {
    pthread_mutex_lock(lock);
    pthread_barrier_wait(&both);
    for (;;) sleep(1000);
}

int main(int argc, char **argv) {
    const char *way = argv[argc - 1];
    pthread_t a, b;
    pthread_barrier_init(&both, NULL, 2);
    if (!strcmp(way, "abba")) {
        pthread_create(&a, NULL, take, &one);
        pthread_create(&b, NULL, take, &two);
        puts("ready");
        fflush(stdout);
        pthread_join(a, NULL);
    }
    pthread_create(&a, NULL, hold, &one);
    pthread_barrier_wait(&both);
    if (!strcmp(way, "fork")) {
        pid_t child = fork();
        if (!child) {
            pthread_mutex_lock(&one);
            return 0;
        }
        printf("child %d\nready\n", child);
        fflush(stdout);
        waitpid(child, NULL, 0);
    }
    puts("ready");
    fflush(stdout);
    pthread_mutex_lock(&one);
    return 0;
}
