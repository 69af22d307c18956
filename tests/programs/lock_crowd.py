"""200 file locks that stay, while two processes take and free 20 each as fast as they can. argv: DIRECTORY."""
import fcntl
import os
import sys

STAY, GO = 200, 20


def files(directory, name, count):
    return [open(os.path.join(directory, "%s-%d" % (name, number)), "w") for number in range(count)]


def take_and_free(directory, name):
    mine = files(directory, name, GO)
    while True:
        for file in mine:
            fcntl.flock(file, fcntl.LOCK_EX)
        for file in mine:
            fcntl.flock(file, fcntl.LOCK_UN)


if __name__ == "__main__":
    kept = files(sys.argv[1], "stays", STAY)
    for file in kept:
        fcntl.flock(file, fcntl.LOCK_EX)
    for worker in ("one", "other"):
        if not os.fork():
            take_and_free(sys.argv[1], worker)
    print("ready")
    sys.stdout.flush()
    os.wait()
