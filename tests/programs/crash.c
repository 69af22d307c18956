/* Dies in the way its first argument names. Built twice: with -DLIBRARY as a shared library that holds
 * the faulty functions, and without it as the program that calls them; with -DBOTH all in one program. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct wide { char before[0x1b8]; volatile int field; };
struct far { char before[0x5004]; volatile int field; };

#if defined LIBRARY || defined BOTH
static const char fixed[64] = "constant";
volatile int zero;

int read_field(struct wide *here) { return here->field; }
void write_field(struct wide *here) { here->field = 1; }
void write_constant(void) { if (*(volatile char *)fixed) *(volatile char *)fixed = 1; }
void call(void (*target)(void)) { target(); }
int divide(int by) { return 7 / by; }
int read_far(struct far *here) { return here->field; }
int read_before(char *here) { __asm__ volatile("mov -8(%0), %%eax" ::"a"(here)); return 0; }
void smash(void) { ((volatile long *)__builtin_frame_address(0))[1] = 0x4141414141414141; }
void lose_stack(void) { __asm__ volatile("movabs $0x4141414141414141, %rsp; push %rax"); }
void illegal(void) { __asm__ volatile("ud2"); }
int recurse(int depth) { volatile char room[64]; room[0] = (char)depth; return recurse(depth + 1) + room[0]; }
void overrun(void) { volatile char room[64]; static volatile char *at; for (at = room;; at++) *at = 1; }
void generated(void)
{
	static const unsigned char code[] = { 0x31, 0xc0, 0x8b, 0x40, 0x10, 0xc3 }; /* eax = 0; eax = *(rax + 16) */
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(page, code, sizeof code);
	((void (*)(void))page)();
}
#endif
#ifndef LIBRARY
int read_field(struct wide *here);
void write_field(struct wide *here);
void write_constant(void);
void call(void (*target)(void));
int divide(int by);
int read_far(struct far *here);
int read_before(char *here);
void smash(void);
void lose_stack(void);
void illegal(void);
int recurse(int depth);
void overrun(void);
void generated(void);
extern volatile int zero;

static void die(const char *how)
{
	if (!strcmp(how, "read-null")) read_field(NULL);
	if (!strcmp(how, "write-null")) write_field(NULL);
	if (!strcmp(how, "write-constant")) write_constant();
	if (!strcmp(how, "call-null")) call(NULL);
	if (!strcmp(how, "call-data")) call((void (*)(void))malloc(4096));
	if (!strcmp(how, "divide")) divide(zero);
	if (!strcmp(how, "illegal")) illegal();
	if (!strcmp(how, "overflow")) recurse(0);
	if (!strcmp(how, "overrun")) overrun();
	if (!strcmp(how, "generated")) generated();
	if (!strcmp(how, "wait")) pause();
	if (!strcmp(how, "far-null")) read_far(NULL);
	if (!strcmp(how, "before-null")) read_before(NULL);
	if (!strcmp(how, "smash")) smash();
	if (!strcmp(how, "lose-stack")) lose_stack();
	if (!strcmp(how, "call-wild")) call((void (*)(void))0x4141414141414141);
	if (!strcmp(how, "wild")) read_field((struct wide *)0x4141414141414141);
}

static void *begin(void *how) { die(how); return NULL; }

int main(int count, char **words)
{
	if (count > 2 && !strcmp(words[2], "thread")) {
		pthread_t thread;
		pthread_create(&thread, NULL, begin, words[1]);
		pthread_join(thread, NULL);
	} else {
		die(words[1]);
	}
	puts("still alive");
	return 1;
}
#endif
