/* SysV semaphores. argv: CASE. Prints "peer PID" (who took it), "waiter PID" and "ready".

   dead     the taker has ended without SEM_UNDO
   lives    the taker sleeps
   undone   the taker has ended, and took it with SEM_UNDO
   work     a semaphore that counts work: both take from it, and there is none left
   zero     waits until it is 0 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

static int set;

static void operate(int change, int flags) {
    struct sembuf one[2] = {{0, 1, 0}, {1, (short)change, (short)flags}};
    semop(set, one, 2);
}

static pid_t child(const char *name, int takes, int stays, int flags, int change) {
    pid_t pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int n = 0; n < takes; n++)
            operate(change, flags);
        while (stays)
            pause();
        _exit(0);
    }
    printf("%s %d\n", name, pid);
    return pid;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    unsigned short values[2] = {0, 1};
    int work = !strcmp(mode, "work"), ends = !strcmp(mode, "dead") || !strcmp(mode, "undone");
    set = semget(IPC_PRIVATE, 2, 0600);
    semctl(set, 0, SETALL, values);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(mode, "zero")) {
        pid_t taker = child("peer", work ? 2 : 1, !ends, strcmp(mode, "undone") ? 0 : SEM_UNDO, -1);
        if (ends)
            waitpid(taker, NULL, 0);
        while (semctl(set, 1, GETVAL) != !strcmp(mode, "undone"))
            usleep(1000);
    }
    if (!strcmp(mode, "undone"))
        child("next", 1, 1, SEM_UNDO, -1), usleep(100000);
    child("waiter", 1, 1, 0, strcmp(mode, "zero") ? -1 : 0);
    while (semctl(set, 1, GETNCNT) + semctl(set, 1, GETZCNT) == 0)
        usleep(1000);
    puts("ready");
    while (1)
        pause();
}
