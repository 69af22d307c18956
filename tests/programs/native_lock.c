/* A process without Python that takes a lock and sleeps. argv: hold|wait PATH */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int fd = open(argv[2], O_RDWR | O_CREAT, 0666);
    if (fd < 0)
        return 1;
    if (strcmp(argv[1], "wait") == 0) {
        puts("ready");
        fflush(stdout);
    }
    if (flock(fd, LOCK_EX) != 0)
        return 1;
    if (strcmp(argv[1], "hold") == 0) {
        puts("ready");
        fflush(stdout);
    }
    for (;;)
        pause();
}
