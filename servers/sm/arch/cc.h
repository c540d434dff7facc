/* cc.h: what lwIP asks of a compiler and a machine. */
#ifndef SM_ARCH_CC_H
#define SM_ARCH_CC_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_ERRNO_STDINCLUDE 1

void stack_failed(const char *what, const char *file, int line) __attribute__((noreturn));
unsigned stack_random(void);

#define LWIP_PLATFORM_ASSERT(what) stack_failed(what, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(what) do { printf what; } while (0)
#define LWIP_RAND() ((u32_t)stack_random())

#endif
