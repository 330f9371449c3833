/* Preloaded into a process: counts the file operations below a directory, and makes one of them fail. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, WRITE, FSYNC, RENAME, MKDIR, OPEN, READ, KINDS };
enum { SHORT = -1000 }; /* a write that takes half of what it is given */

static char below[PATH_MAX];
static long counts[KINDS], failed;
static long fail_at = -1;
static int fail_kinds, fail_how, fail_always;
static long seen;

/* how: an errno, minus a signal, or SHORT; at: which operation of the kinds (a bit mask), -1: none. */
void faulty_arm(const char *directory, int kinds, long at, int how, int always) {
  memset(counts, 0, sizeof counts);
  seen = failed = 0;
  fail_kinds = kinds, fail_at = at, fail_how = how, fail_always = always;
  snprintf(below, sizeof below, "%s", directory);
}

void faulty_counts(long *into) {
  memcpy(into, counts, sizeof counts);
  into[KINDS] = failed;
}

static int is_below(int folder, const char *path) {
  char whole[PATH_MAX] = "", link[64];
  if (!below[0]) return 0;
  if (path && path[0] == '/') return !strncmp(path, below, strlen(below));
  snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
  return readlink(link, whole, sizeof whole - 1) > 0 && !strncmp(whole, below, strlen(below));
}

/* Returns 0 to go on, SHORT, or -1 with errno set. */
static int next(int kind, int grows) {
  __atomic_add_fetch(&counts[kind], 1, __ATOMIC_SEQ_CST);
  if (!(fail_kinds >> kind & 1) || fail_at < 0) return 0;
  long mine = __atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
  if (mine != fail_at && !(fail_always && mine > fail_at)) return 0;
  if (fail_always && !grows) return 0; /* a full disk takes what needs no new space */
  __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
  if (fail_how == SHORT) return SHORT;
  if (fail_how < 0) return kill(getpid(), -fail_how), 0;
  errno = fail_how;
  return -1;
}

static int grows(int file, off_t offset, size_t size) {
  struct stat about;
  if (offset < 0) offset = lseek(file, 0, SEEK_CUR);
  if (fcntl(file, F_GETFL) & O_APPEND) return 1;
  return fstat(file, &about) || offset + (off_t)size > about.st_size;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name, arguments, folder, path, flags, call)                                       \
  int name arguments {                                                                          \
    va_list rest;                                                                               \
    va_start(rest, flags);                                                                      \
    int mode = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;                       \
    va_end(rest);                                                                               \
    if (!((flags) & O_DIRECTORY) && is_below(folder, path) &&                                   \
        next((flags) & O_CREAT ? CREATE : OPEN, (flags) & O_CREAT))                             \
      return -1;                                                                                \
    return REAL(name) call;                                                                     \
  }
OPENS(open, (const char *path, int flags, ...), AT_FDCWD, path, flags, (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags, (path, flags, mode))
OPENS(openat, (int in, const char *path, int flags, ...), in, path, flags, (in, path, flags, mode))
OPENS(openat64, (int in, const char *path, int flags, ...), in, path, flags,
      (in, path, flags, mode))

#define WRITES(name, arguments, offset, call)                     \
  ssize_t name arguments {                                        \
    if (is_below(file, NULL)) {                                   \
      int what = next(WRITE, grows(file, offset, size));          \
      if (what == SHORT) size = (size + 1) / 2;                   \
      else if (what) return -1;                                   \
    }                                                             \
    return REAL(name) call;                                       \
  }
WRITES(write, (int file, const void *from, size_t size), -1, (file, from, size))
WRITES(pwrite, (int file, const void *from, size_t size, off_t at), at, (file, from, size, at))
WRITES(pwrite64, (int file, const void *from, size_t size, off64_t at), at, (file, from, size, at))

ssize_t writev(int file, const struct iovec *parts, int count) {
  if (is_below(file, NULL)) {
    int what = next(WRITE, 1);
    if (what == SHORT) count = (count + 1) / 2;
    else if (what) return -1;
  }
  return REAL(writev)(file, parts, count);
}

#define OTHERS(kind, type, name, arguments, folder, path, growing, call) \
  type name arguments {                                                  \
    if (is_below(folder, path) && next(kind, growing)) return -1;        \
    return REAL(name) call;                                              \
  }
OTHERS(FSYNC, int, fsync, (int file), file, NULL, 0, (file))
OTHERS(FSYNC, int, fdatasync, (int file), file, NULL, 0, (file))
OTHERS(RENAME, int, rename, (const char *from, const char *to), AT_FDCWD, to, 0, (from, to))
OTHERS(RENAME, int, renameat, (int in, const char *from, int out, const char *to), out, to, 0,
       (in, from, out, to))
OTHERS(RENAME, int, renameat2, (int in, const char *from, int out, const char *to, unsigned how),
       out, to, 0, (in, from, out, to, how))
OTHERS(MKDIR, int, mkdir, (const char *path, mode_t mode), AT_FDCWD, path, 1, (path, mode))
OTHERS(MKDIR, int, mkdirat, (int in, const char *path, mode_t mode), in, path, 1, (in, path, mode))
OTHERS(READ, ssize_t, read, (int file, void *to, size_t size), file, NULL, 0, (file, to, size))
OTHERS(READ, ssize_t, pread, (int file, void *to, size_t size, off_t at), file, NULL, 0,
       (file, to, size, at))
OTHERS(READ, ssize_t, pread64, (int file, void *to, size_t size, off64_t at), file, NULL, 0,
       (file, to, size, at))
