/* Uses OpenMP, forks, and uses it again in the child: GNU's team of threads does not exist there. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static double work(void)
{
	double sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(3)
	for (int n = 0; n < 1000; n++)
		sum += n;
	return sum;
}

int main(void)
{
	work();
	pid_t child = fork();
	if (!child) {
		work();
		return 0;
	}
	printf("child %d\nready\n", child);
	fflush(stdout);
	waitpid(child, NULL, 0);
	return 0;
}
