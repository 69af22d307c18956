/* Damages its heap in the way its argument names. */
#include <stdlib.h>
#include <string.h>

int main(int count, char **words)
{
	char *one = malloc(100), *two = malloc(100);
	if (count > 1 && !strcmp(words[1], "double")) {
		free(one);
		free(two);
		free(one);
	} else {
		memset(one, 65, 160);
		free(two);
		free(one);
		free(malloc(2000));
	}
	return 0;
}
