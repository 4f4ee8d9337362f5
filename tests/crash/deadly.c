/* Ends the process with SIGKILL at the n-th system call that changes a file, whoever makes it: SQLite calls the
   C library, where nothing written in Python can count. Loaded before the C library by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

static long left = -1;
static int torn = 0;
static long counted = 0;

/* Die at call number `count` from now, or with `tear` in the middle of the pwrite that it is or comes next. */
void deadly_arm(long count, int tear) { left = count; torn = tear; counted = 0; }

static int last_call(void) {
    if (left < 0) return 0;
    counted++;
    return counted >= left;
}
static void die(void) { kill(getpid(), SIGKILL); }
#define REAL(type, name) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)
#define PLAIN(name, type, parameters, ...) \
    type name parameters { \
        typedef type (*function) parameters; \
        REAL(function, #name); \
        if (last_call() && !torn) die(); \
        return real(__VA_ARGS__); \
    }
#define AT(name, offset) \
    ssize_t name(int fd, const void *data, size_t size, offset at) { \
        typedef ssize_t (*function)(int, const void *, size_t, offset); \
        REAL(function, #name); \
        if (last_call()) { \
            if (torn) (void)!real(fd, data, size / 2, at); \
            die(); \
        } \
        return real(fd, data, size, at); \
    }

AT(pwrite, off_t)
AT(pwrite64, off64_t)
PLAIN(fsync, int, (int fd), fd)
PLAIN(fdatasync, int, (int fd), fd)
PLAIN(ftruncate, int, (int fd, off_t size), fd, size)
PLAIN(ftruncate64, int, (int fd, off64_t size), fd, size)
PLAIN(unlink, int, (const char *path), path)
PLAIN(rename, int, (const char *from, const char *to), from, to)
