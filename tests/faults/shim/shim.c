/*
 * Watches what a process does to one directory, writes it down, and fails what it is told to fail.
 *
 * It is preloaded into the process. A seccomp filter turns every system call that can change a
 * file into a signal; the handler makes the call itself and logs what it did. So nothing gets
 * past it, whether it came through libc or not: some Rust crates call the kernel themselves,
 * and functions put in the place of libc's would never see their renames.
 *
 * Calls on the directory are made one at a time, so that the log has them in the order in which
 * they happened. The handler uses no libc function that may allocate or lock.
 *
 *   FAULTS_DIR   the directory, as an absolute path without links
 *   FAULTS_LOG   where the log goes; none is written if it is not set
 *   FAULTS_PLAN  what fails: `kind:number:what`, separated by commas. The kinds are `write`,
 *                `sync`, `change` (of a name or a length) and `any`; the number counts from 1,
 *                with a `+` it is that one and all later ones; what happens is `EIO`, `ENOSPC`,
 *                `short` (half is written) or `kill`
 *
 * The records of the log are those of `src/recording.rs`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>

/* The one place from which system calls are not turned into signals. */
long faults_syscall(long number, long a, long b, long c, long d, long e, long f);
extern const char faults_syscall_end[];

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
__asm__(".text\n.hidden faults_syscall\n.hidden faults_syscall_end\n.type faults_syscall, @function\n"
        ".globl faults_syscall\nfaults_syscall:\n"
        "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %r10\nmov %r9, %r8\n"
        "mov 8(%rsp), %r9\nsyscall\n"
        ".globl faults_syscall_end\nfaults_syscall_end:\nret\n");
#define CALL_NUMBER(context) ((context)->uc_mcontext.gregs[REG_RAX])
#define CALL_RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#define CALL_ARGUMENTS(context)                                                                                        \
    {(context)->uc_mcontext.gregs[REG_RDI], (context)->uc_mcontext.gregs[REG_RSI],                                     \
     (context)->uc_mcontext.gregs[REG_RDX], (context)->uc_mcontext.gregs[REG_R10],                                     \
     (context)->uc_mcontext.gregs[REG_R8],  (context)->uc_mcontext.gregs[REG_R9]}
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
__asm__(".text\n.hidden faults_syscall\n.hidden faults_syscall_end\n.type faults_syscall, %function\n"
        ".globl faults_syscall\nfaults_syscall:\n"
        "mov x8, x0\nmov x0, x1\nmov x1, x2\nmov x2, x3\nmov x3, x4\nmov x4, x5\nmov x5, x6\nsvc #0\n"
        ".globl faults_syscall_end\nfaults_syscall_end:\nret\n");
#define CALL_NUMBER(context) ((context)->uc_mcontext.regs[8])
#define CALL_RESULT(context) ((context)->uc_mcontext.regs[0])
#define CALL_ARGUMENTS(context)                                                                                        \
    {(context)->uc_mcontext.regs[0], (context)->uc_mcontext.regs[1], (context)->uc_mcontext.regs[2],                   \
     (context)->uc_mcontext.regs[3], (context)->uc_mcontext.regs[4], (context)->uc_mcontext.regs[5]}
#else
#error "only x86-64 and AArch64 are known here"
#endif

#define KERNEL(number, ...) KERNEL_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define KERNEL_(number, a, b, c, d, e, f, ...)                                                                         \
    faults_syscall((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Calls that change files, and calls that say which file a descriptor stands for. */
static const int WATCHED[] = {
#if defined(__x86_64__)
    SYS_open, SYS_creat, SYS_rename, SYS_unlink, SYS_rmdir, SYS_link, SYS_symlink, SYS_mkdir, SYS_dup2,
#endif
    SYS_openat, SYS_openat2, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_linkat, SYS_symlinkat, SYS_mkdirat,
    SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_truncate, SYS_ftruncate, SYS_fallocate,
    SYS_fsync, SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_close, SYS_close_range, SYS_dup, SYS_dup3,
    SYS_fcntl, SYS_mmap, SYS_copy_file_range, SYS_sendfile, SYS_splice, SYS_io_uring_setup,
};
#define WATCHED_COUNT (sizeof(WATCHED) / sizeof(WATCHED[0]))

enum record {
    CREATED = 1,
    MADE_DIR,
    WROTE,
    RESIZED,
    SYNCED,
    SYNCED_ALL,
    SYNC_FAILED,
    RENAMED,
    UNLINKED,
    REMOVED_DIR,
    LINKED,
    SAID,
    FAILED,
    UNSUPPORTED,
};

struct header {
    uint32_t record;
    uint32_t path_bytes;
    uint32_t other_path_bytes;
    uint32_t unused;
    uint64_t inode;
    uint64_t at;
    uint64_t data_bytes;
};

struct file {
    uint64_t inode; /* 0 if the descriptor is none of ours */
    int flags;
};

enum kind { WRITE, SYNC, CHANGE, ANY };

struct fault {
    enum kind kind;
    uint64_t number;
    int lasting;
    int what; /* an error number, or one of the two below */
};
#define SHORT (-1)
#define KILL (-2)

#define FILES_MAX 16384
#define FAULTS_MAX 16
static struct file files[FILES_MAX];
static struct fault faults[FAULTS_MAX];
static int fault_count;
static uint64_t counted[4];
static char dir[PATH_MAX];
static size_t dir_bytes;
static int log_file = -1;
static int lock;

/* Ends the process: the test must not go on without knowing what was done. */
static void give_up(const char *why) {
    KERNEL(SYS_write, 2, "faults shim: ", 13);
    KERNEL(SYS_write, 2, why, strlen(why));
    KERNEL(SYS_write, 2, "\n", 1);
    KERNEL(SYS_exit_group, 86, 0);
    __builtin_unreachable();
}

static void take_lock(void) {
    int state = 0;
    if (__atomic_compare_exchange_n(&lock, &state, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return;
    }
    while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE) != 0) {
        KERNEL(SYS_futex, &lock, FUTEX_WAIT_PRIVATE, 2, 0);
    }
}

static void release_lock(void) {
    if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2) {
        KERNEL(SYS_futex, &lock, FUTEX_WAKE_PRIVATE, 1);
    }
}

/* The log. */

static void log_all(struct iovec *parts, int count) {
    while (count > 0) {
        long written = KERNEL(SYS_writev, log_file, parts, count);
        if (written < 0) {
            give_up("the log could not be written");
        }
        while (count > 0 && (size_t)written >= parts->iov_len) {
            written -= (long)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
}

/* Logs one record, with the first `data_bytes` of what `data` points to. */
static void note_data(enum record record, uint64_t inode, uint64_t at, const struct iovec *data, int data_count,
                      size_t data_bytes) {
    if (log_file < 0) {
        return;
    }
    struct header header = {.record = record, .inode = inode, .at = at, .data_bytes = data_bytes};
    struct iovec parts[16] = {{&header, sizeof(header)}};
    int count = 1;
    for (int part = 0; part < data_count && data_bytes > 0; part++) {
        size_t bytes = data[part].iov_len < data_bytes ? data[part].iov_len : data_bytes;
        parts[count++] = (struct iovec){data[part].iov_base, bytes};
        data_bytes -= bytes;
        if (count == 16) {
            log_all(parts, count);
            count = 0;
        }
    }
    log_all(parts, count);
}

static void note_paths(enum record record, uint64_t inode, uint64_t at, const char *path, const char *other) {
    if (log_file < 0) {
        return;
    }
    struct header header = {.record = record, .inode = inode, .at = at};
    header.path_bytes = path ? (uint32_t)strlen(path) : 0;
    header.other_path_bytes = other ? (uint32_t)strlen(other) : 0;
    struct iovec parts[3] = {
        {&header, sizeof(header)}, {(void *)path, header.path_bytes}, {(void *)other, header.other_path_bytes}};
    log_all(parts, 3);
}

static void note(enum record record, uint64_t inode, uint64_t at) { note_paths(record, inode, at, NULL, NULL); }

static void unsupported(const char *what) { note_paths(UNSUPPORTED, 0, 0, what, NULL); }

/* Paths. */

/* Takes `.`, `..` and doubled slashes out of an absolute path. */
static void normalise(char *path) {
    char *out = path;
    for (const char *in = path; *in;) {
        while (*in == '/') {
            in++;
        }
        size_t bytes = 0;
        while (in[bytes] && in[bytes] != '/') {
            bytes++;
        }
        if (bytes == 2 && in[0] == '.' && in[1] == '.') {
            while (out > path && *--out != '/') {
            }
        } else if (bytes > 0 && !(bytes == 1 && in[0] == '.')) {
            *out++ = '/';
            memmove(out, in, bytes);
            out += bytes;
        }
        in += bytes;
    }
    *out = 0;
}

static size_t decimal(char *out, unsigned number) {
    char digits[12];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (size_t at = 0; at < count; at++) {
        out[at] = digits[count - 1 - at];
    }
    out[count] = 0;
    return count;
}

/* Whether `path`, as a call names it, lies below the directory. `out` is then its path from there. */
static int below(long at, const char *path, char *out) {
    size_t bytes = 0;
    if (path[0] != '/') {
        long base;
        if ((int)at == AT_FDCWD) {
            base = KERNEL(SYS_getcwd, out, PATH_MAX) - 1;
        } else {
            char link[32] = "/proc/self/fd/";
            decimal(link + 14, (unsigned)at);
            base = KERNEL(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
        }
        if (base <= 0) {
            return 0;
        }
        bytes = (size_t)base;
        out[bytes++] = '/';
    }
    size_t path_bytes = strlen(path);
    if (bytes + path_bytes >= PATH_MAX) {
        return 0;
    }
    memcpy(out + bytes, path, path_bytes + 1);
    normalise(out);
    if (strncmp(out, dir, dir_bytes) != 0 || (out[dir_bytes] != '/' && out[dir_bytes] != 0)) {
        return 0;
    }
    const char *rest = out + dir_bytes + (out[dir_bytes] == '/');
    memmove(out, rest, strlen(rest) + 1);
    return 1;
}

static uint64_t inode_at(long at, const char *path) {
    struct stat found;
    return KERNEL(SYS_newfstatat, at, path, &found, AT_SYMLINK_NOFOLLOW) == 0 ? found.st_ino : 0;
}

/* Descriptors. */

static struct file *ours(long descriptor) {
    int number = (int)descriptor;
    return number >= 0 && number < FILES_MAX && files[number].inode ? &files[number] : NULL;
}

static void know(long descriptor, struct file file) {
    if (descriptor < 0) {
        return;
    }
    if (descriptor >= FILES_MAX) {
        if (file.inode) {
            give_up("too many files are open");
        }
        return;
    }
    files[descriptor] = file;
}

/* Faults. */

static int fault_of(enum kind kind) {
    uint64_t number = ++counted[kind], any = ++counted[ANY];
    for (int at = 0; at < fault_count; at++) {
        uint64_t now = faults[at].kind == ANY ? any : number;
        int meant = faults[at].kind == ANY || faults[at].kind == kind;
        if (meant && (now == faults[at].number || (faults[at].lasting && now > faults[at].number))) {
            if (faults[at].what == KILL) {
                KERNEL(SYS_kill, KERNEL(SYS_getpid, 0), SIGKILL);
            }
            note(FAILED, 0, (uint64_t)faults[at].what);
            return faults[at].what;
        }
    }
    return 0;
}

/* A fault of a call that has no half. */
static long refused(enum kind kind) {
    int what = fault_of(kind);
    return what == SHORT ? EIO : what;
}

/* The calls. Each returns what the caller is to see. */

static long do_open(long at, const char *path, int flags, long mode) {
    char name[PATH_MAX];
    if (!below(at, path, name)) {
        long descriptor = KERNEL(SYS_openat, at, path, flags, mode);
        take_lock();
        know(descriptor, (struct file){0});
        release_lock();
        return descriptor;
    }
    take_lock();
    long result;
    int creates = (flags & O_CREAT) && inode_at(at, path) == 0;
    int cuts = !creates && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        unsupported("a file without a name");
    }
    long error = creates || cuts ? refused(CHANGE) : 0;
    if (error) {
        result = -error;
    } else {
        result = KERNEL(SYS_openat, at, path, flags, mode);
    }
    if (result >= 0) {
        struct stat found;
        KERNEL(SYS_fstat, result, &found);
        know(result, (struct file){found.st_ino, flags});
        if (creates) {
            note_paths(CREATED, found.st_ino, 0, name, NULL);
        } else if (cuts && S_ISREG(found.st_mode)) {
            note(RESIZED, found.st_ino, 0);
        }
    }
    release_lock();
    return result;
}

/* Writes at the descriptor's own place, or at `at` if that is not negative. */
static long do_write(long descriptor, const struct iovec *parts, int count, long at) {
    struct file *file = ours(descriptor);
    if (!file) {
        if (descriptor == 1 && log_file >= 0) {
            take_lock();
            long written = KERNEL(SYS_writev, descriptor, parts, count);
            if (written > 0) {
                note_data(SAID, 0, 0, parts, count, (size_t)written);
            }
            release_lock();
            return written;
        }
        return at < 0 ? KERNEL(SYS_writev, descriptor, parts, count)
                      : KERNEL(SYS_pwritev, descriptor, parts, count, at, 0);
    }
    take_lock();
    long result;
    int what = fault_of(WRITE);
    if (what > 0) {
        result = -what;
    } else {
        struct iovec half = {parts[0].iov_base, parts[0].iov_len > 1 ? parts[0].iov_len / 2 : parts[0].iov_len};
        if (what == SHORT) {
            parts = &half;
            count = 1;
        }
        result = at < 0 ? KERNEL(SYS_writev, descriptor, parts, count)
                        : KERNEL(SYS_pwritev, descriptor, parts, count, at, 0);
        if (result > 0) {
            if (at < 0 || (file->flags & O_APPEND)) {
                at = KERNEL(SYS_lseek, descriptor, 0, SEEK_CUR) - result;
            }
            note_data(WROTE, file->inode, (uint64_t)at, parts, count, (size_t)result);
            if (file->flags & (O_SYNC | O_DSYNC)) {
                note(SYNCED, file->inode, 0);
            }
        }
    }
    release_lock();
    return result;
}

static long do_sync(long number, long descriptor) {
    struct file *file = ours(descriptor);
    if (!file) {
        return KERNEL(number, descriptor);
    }
    take_lock();
    long error = refused(SYNC), result = -error;
    if (error) {
        note(SYNC_FAILED, file->inode, 0);
    } else {
        result = KERNEL(number, descriptor);
        note(result == 0 ? SYNCED : SYNC_FAILED, file->inode, 0);
    }
    release_lock();
    return result;
}

static long do_resize(long descriptor, uint64_t bytes) {
    struct file *file = ours(descriptor);
    if (!file) {
        return KERNEL(SYS_ftruncate, descriptor, bytes);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_ftruncate, descriptor, bytes);
    if (result == 0) {
        note(RESIZED, file->inode, bytes);
    }
    release_lock();
    return result;
}

static long do_allocate(long descriptor, long mode, long from, long bytes) {
    struct file *file = ours(descriptor);
    if (!file) {
        return KERNEL(SYS_fallocate, descriptor, mode, from, bytes);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_fallocate, descriptor, mode, from, bytes);
    if (result == 0 && mode == 0) {
        struct stat found;
        KERNEL(SYS_fstat, descriptor, &found);
        note(RESIZED, file->inode, (uint64_t)found.st_size);
    } else if (result == 0 && mode != FALLOC_FL_KEEP_SIZE) {
        unsupported("holes made with fallocate");
    }
    release_lock();
    return result;
}

static long do_rename(long at, const char *from, long other_at, const char *to, long flags) {
    char from_name[PATH_MAX], to_name[PATH_MAX];
    int from_below = below(at, from, from_name), to_below = below(other_at, to, to_name);
    if (!from_below && !to_below) {
        return KERNEL(SYS_renameat2, at, from, other_at, to, flags);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_renameat2, at, from, other_at, to, flags);
    if (result == 0 && from_below && to_below && (flags & ~RENAME_NOREPLACE) == 0) {
        note_paths(RENAMED, 0, 0, from_name, to_name);
    } else if (result == 0) {
        unsupported("a rename into or out of the directory, or an exchange");
    }
    release_lock();
    return result;
}

static long do_unlink(long at, const char *path, long flags) {
    char name[PATH_MAX];
    if (!below(at, path, name)) {
        return KERNEL(SYS_unlinkat, at, path, flags);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_unlinkat, at, path, flags);
    if (result == 0) {
        note_paths(flags & AT_REMOVEDIR ? REMOVED_DIR : UNLINKED, 0, 0, name, NULL);
    }
    release_lock();
    return result;
}

static long do_link(long at, const char *from, long other_at, const char *to, long flags) {
    char from_name[PATH_MAX], to_name[PATH_MAX];
    if (!below(other_at, to, to_name)) {
        return KERNEL(SYS_linkat, at, from, other_at, to, flags);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_linkat, at, from, other_at, to, flags);
    if (result == 0 && below(at, from, from_name)) {
        note_paths(LINKED, 0, 0, from_name, to_name);
    } else if (result == 0) {
        unsupported("a link to a file outside of the directory");
    }
    release_lock();
    return result;
}

static long do_make_dir(long at, const char *path, long mode) {
    char name[PATH_MAX];
    if (!below(at, path, name)) {
        return KERNEL(SYS_mkdirat, at, path, mode);
    }
    take_lock();
    long error = refused(CHANGE), result = error ? -error : KERNEL(SYS_mkdirat, at, path, mode);
    if (result == 0) {
        note_paths(MADE_DIR, inode_at(at, path), 0, name, NULL);
    }
    release_lock();
    return result;
}

static long do_symlink(const char *target, long at, const char *path) {
    char name[PATH_MAX];
    if (below(at, path, name)) {
        unsupported("a symbolic link");
    }
    return KERNEL(SYS_symlinkat, target, at, path);
}

static long do_close(long descriptor) {
    take_lock();
    know(descriptor, (struct file){0});
    long result = KERNEL(SYS_close, descriptor);
    release_lock();
    return result;
}

static long do_close_range(unsigned long first, unsigned long last, long flags) {
    take_lock();
    long result = KERNEL(SYS_close_range, first, last, flags);
    for (unsigned long number = first; result == 0 && flags == 0 && number <= last && number < FILES_MAX; number++) {
        files[number] = (struct file){0};
    }
    release_lock();
    return result;
}

/* A descriptor that is made from another stands for the same file. */
static long do_duplicate(long number, long from, long to, long third) {
    take_lock();
    long result = KERNEL(number, from, to, third);
    struct file *file = ours(from);
    know(result, file ? *file : (struct file){0});
    release_lock();
    return result;
}

static long do_map(long address, long bytes, long protection, long flags, long descriptor, long from) {
    if (!(flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) != MAP_PRIVATE && (protection & PROT_WRITE) && ours(descriptor)) {
        take_lock();
        unsupported("a file mapped for writing");
        release_lock();
    }
    return KERNEL(SYS_mmap, address, bytes, protection, flags, descriptor, from);
}

static long do_sync_all(long number, long descriptor) {
    take_lock();
    long error = refused(SYNC), result = error ? -error : KERNEL(number, descriptor);
    if (result == 0) {
        note(SYNCED_ALL, 0, 0);
    }
    release_lock();
    return result;
}

static long do_truncate(const char *path, long bytes) {
    char name[PATH_MAX];
    if (below(AT_FDCWD, path, name)) {
        unsupported("truncate by path");
    }
    return KERNEL(SYS_truncate, path, bytes);
}

static long call(long number, const long *a) {
    switch (number) {
#if defined(__x86_64__)
    case SYS_open: return do_open(AT_FDCWD, (const char *)a[0], (int)a[1], a[2]);
    case SYS_creat: return do_open(AT_FDCWD, (const char *)a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1]);
    case SYS_rename: return do_rename(AT_FDCWD, (const char *)a[0], AT_FDCWD, (const char *)a[1], 0);
    case SYS_unlink: return do_unlink(AT_FDCWD, (const char *)a[0], 0);
    case SYS_rmdir: return do_unlink(AT_FDCWD, (const char *)a[0], AT_REMOVEDIR);
    case SYS_link: return do_link(AT_FDCWD, (const char *)a[0], AT_FDCWD, (const char *)a[1], 0);
    case SYS_symlink: return do_symlink((const char *)a[0], AT_FDCWD, (const char *)a[1]);
    case SYS_mkdir: return do_make_dir(AT_FDCWD, (const char *)a[0], a[1]);
    case SYS_dup2: return do_duplicate(number, a[0], a[1], 0);
#endif
    case SYS_openat: return do_open(a[0], (const char *)a[1], (int)a[2], a[3]);
    case SYS_renameat: return do_rename(a[0], (const char *)a[1], a[2], (const char *)a[3], 0);
    case SYS_renameat2: return do_rename(a[0], (const char *)a[1], a[2], (const char *)a[3], a[4]);
    case SYS_unlinkat: return do_unlink(a[0], (const char *)a[1], a[2]);
    case SYS_linkat: return do_link(a[0], (const char *)a[1], a[2], (const char *)a[3], a[4]);
    case SYS_symlinkat: return do_symlink((const char *)a[0], a[1], (const char *)a[2]);
    case SYS_mkdirat: return do_make_dir(a[0], (const char *)a[1], a[2]);
    case SYS_write:
    case SYS_pwrite64: {
        struct iovec part = {(void *)a[1], (size_t)a[2]};
        return do_write(a[0], &part, 1, number == SYS_write ? -1 : a[3]);
    }
    case SYS_writev: return do_write(a[0], (const struct iovec *)a[1], (int)a[2], -1);
    case SYS_pwritev: return do_write(a[0], (const struct iovec *)a[1], (int)a[2], a[3]);
    case SYS_truncate: return do_truncate((const char *)a[0], a[1]);
    case SYS_ftruncate: return do_resize(a[0], (uint64_t)a[1]);
    case SYS_fallocate: return do_allocate(a[0], a[1], a[2], a[3]);
    case SYS_fsync:
    case SYS_fdatasync: return do_sync(number, a[0]);
    case SYS_sync:
    case SYS_syncfs: return do_sync_all(number, a[0]);
    /* It promises nothing that outlives the power: as if it had not been called. */
    case SYS_sync_file_range: return ours(a[0]) ? 0 : KERNEL(number, a[0], a[1], a[2], a[3]);
    case SYS_close: return do_close(a[0]);
    case SYS_close_range: return do_close_range((unsigned long)a[0], (unsigned long)a[1], a[2]);
    case SYS_dup:
    case SYS_dup3: return do_duplicate(number, a[0], a[1], a[2]);
    case SYS_fcntl:
        if (a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC) {
            return do_duplicate(number, a[0], a[1], a[2]);
        }
        return KERNEL(number, a[0], a[1], a[2]);
    case SYS_mmap: return do_map(a[0], a[1], a[2], a[3], a[4], a[5]);
    /* Whoever is told that these do not work reads and writes instead. */
    case SYS_copy_file_range: return ours(a[2]) ? -EXDEV : KERNEL(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    case SYS_sendfile: return ours(a[0]) ? -EINVAL : KERNEL(number, a[0], a[1], a[2], a[3]);
    case SYS_splice: return ours(a[2]) ? -EINVAL : KERNEL(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    default: return -ENOSYS; /* openat2, pwritev2, io_uring_setup: whoever uses them can do without */
    }
}

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    if (info->si_code != 1 /* SYS_SECCOMP */) {
        return;
    }
    ucontext_t *caller = context;
    const long arguments[6] = CALL_ARGUMENTS(caller);
    CALL_RESULT(caller) = call((long)CALL_NUMBER(caller), arguments);
}

/* The beginning. */

static void watch_calls(void) {
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    if (sigaction(SIGSYS, &action, NULL) != 0) {
        give_up("no handler for the signal");
    }
    uint64_t end = (uint64_t)(uintptr_t)faults_syscall_end;
    struct sock_filter filter[WATCHED_COUNT + 10];
    unsigned short count = 0;
#define FILTER(...) filter[count++] = (struct sock_filter)__VA_ARGS__
#define LOAD(field, more) FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + (more)))
    LOAD(arch, 0);
    FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    FILTER(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    LOAD(instruction_pointer, 0);
    FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)end, 0, 2));
    LOAD(instruction_pointer, 4);
    FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(end >> 32), WATCHED_COUNT + 1, 0));
    LOAD(nr, 0);
    for (size_t at = 0; at < WATCHED_COUNT; at++) {
        FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)WATCHED[at], (unsigned char)(WATCHED_COUNT - at), 0));
    }
    FILTER(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    FILTER(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
    struct sock_fprog program = {count, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        give_up("the system does not let it filter system calls");
    }
}

static int starts(const char **text, const char *with) {
    size_t bytes = strlen(with);
    if (strncmp(*text, with, bytes) != 0) {
        return 0;
    }
    *text += bytes;
    return 1;
}

static void read_plan(const char *plan) {
    while (*plan) {
        if (fault_count == FAULTS_MAX) {
            give_up("FAULTS_PLAN has too many faults");
        }
        struct fault *fault = &faults[fault_count++];
        if (starts(&plan, "write:")) {
            fault->kind = WRITE;
        } else if (starts(&plan, "sync:")) {
            fault->kind = SYNC;
        } else if (starts(&plan, "change:")) {
            fault->kind = CHANGE;
        } else if (starts(&plan, "any:")) {
            fault->kind = ANY;
        } else {
            give_up("FAULTS_PLAN has an unknown kind");
        }
        char *end;
        fault->number = strtoull(plan, &end, 10);
        plan = end;
        fault->lasting = starts(&plan, "+");
        if (starts(&plan, ":EIO")) {
            fault->what = EIO;
        } else if (starts(&plan, ":ENOSPC")) {
            fault->what = ENOSPC;
        } else if (starts(&plan, ":short")) {
            fault->what = SHORT;
        } else if (starts(&plan, ":kill")) {
            fault->what = KILL;
        } else {
            give_up("FAULTS_PLAN does not say what happens");
        }
        starts(&plan, ",");
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_DIR"), *log_path = getenv("FAULTS_LOG"), *plan = getenv("FAULTS_PLAN");
    if (!path) {
        return;
    }
    dir_bytes = strlen(path);
    if (path[0] != '/' || dir_bytes >= sizeof(dir)) {
        give_up("FAULTS_DIR is not an absolute path");
    }
    memcpy(dir, path, dir_bytes + 1);
    if (log_path) {
        log_file = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (log_file < 0) {
            give_up("FAULTS_LOG could not be created");
        }
        note_paths(MADE_DIR, inode_at(AT_FDCWD, dir), 0, "", NULL);
    }
    if (plan) {
        read_plan(plan);
    }
    watch_calls();
}
