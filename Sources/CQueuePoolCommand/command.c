// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CQueuePoolCommand.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int qp_sealed_file(const void *bytes, size_t count) {
    int file = memfd_create("queuepool-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return -1;
    const char *rest = bytes;
    while (count > 0) {
        ssize_t written = write(file, rest, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) goto failed;
        rest += written;
        count -= (size_t)written;
    }
    if (lseek(file, 0, SEEK_SET) < 0) goto failed;
    if (fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) goto failed;
    return file;
failed:
    close(file);
    return -1;
}

// Between clone and exec a child has this process's memory, and nothing of it may change meanwhile: the starting thread
// is held by the kernel until exec, every signal is blocked, and the child calls nothing that takes a lock.

enum { stack_bytes = 256 * 1024 };

typedef struct {
    const qp_program *program;
    pid_t parent;
    int failure;
} start_state;

static void close_from_three(void) {
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0) return;
    // Linux before 5.9. Files beyond the limit were opened before it was lowered, which nobody does here.
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1 << 20) limit.rlim_cur = 1 << 20;
    for (int descriptor = 3; descriptor < (int)limit.rlim_cur; descriptor++) close(descriptor);
}

int qp_note(int registry, char sign, int process) {
    char text[16];
    char *place = text + sizeof text;
    *--place = '\n';
    for (int rest = process; rest > 0; rest /= 10) *--place = (char)('0' + rest % 10);
    *--place = sign;
    // One write, which a pipe never tears.
    size_t count = (size_t)(text + sizeof text - place);
    return write(registry, place, count) == (ssize_t)count ? 0 : -1;
}

static int put(int descriptor, int place) {
    if (descriptor != place) return dup2(descriptor, place);
    return fcntl(place, F_SETFD, 0);
}

static int become(void *argument) {
    start_state *state = argument;
    const qp_program *program = state->program;
    if (program->dies_with_thread) {
        // The parent may have died before: the kernel signals only deaths after this call.
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) goto failed;
        if (getppid() != state->parent) _exit(127);
    }
    if (setpgid(0, 0) != 0) goto failed;
    if (program->registry >= 0 && qp_note(program->registry, '+', getpid()) != 0) goto failed;
    // What is handled here would run here's code in the child; what Swift's runtime and the server ignore is not the
    // program's will. What was ignored from the start, as by nohup, stays ignored.
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0) continue;
        int is_ours = number == SIGPIPE || number == SIGXFSZ || number == SIGTERM || number == SIGINT ||
                      number == SIGCHLD;
        if (action.sa_handler == SIG_DFL || (action.sa_handler == SIG_IGN && !is_ours)) continue;
        memset(&action, 0, sizeof action);
        action.sa_handler = SIG_DFL;
        sigaction(number, &action, NULL);
    }
    if (put(program->input, STDIN_FILENO) < 0 || put(program->output, STDOUT_FILENO) < 0 ||
        put(program->error, STDERR_FILENO) < 0)
        goto failed;
    close_from_three();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program->path, program->arguments, program->environment);
failed:
    state->failure = errno;
    _exit(127);
}

int qp_start(const qp_program *program, int *handle) {
    char *stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -1;
    start_state state = {.program = program, .parent = getpid(), .failure = 0};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int process = clone(become, stack + stack_bytes, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &state, handle);
    int failure = process < 0 ? errno : state.failure;
    if (process > 0 && failure != 0) {
        close(*handle);
        // It may have noted itself, and its number will be another's: a list that cannot be mended must not be used.
        if (program->registry >= 0 && qp_note(program->registry, '-', process) != 0) failure = EPIPE;
        while (waitpid(process, NULL, 0) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, stack_bytes);
    if (failure == 0) return process;
    errno = failure;
    return -1;
}

int qp_peek(int process, int *status) {
    siginfo_t information = {0};
    int result;
    do result = waitid(P_PID, (id_t)process, &information, WEXITED | WNOWAIT | WNOHANG);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -1;
    if (information.si_pid == 0) return 0;
    *status = information.si_code == CLD_EXITED ? (information.si_status & 0xFF) << 8 : information.si_status & 0x7F;
    return 1;
}

int qp_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    return fcntl(ends[1], F_SETFL, O_NONBLOCK);
}

void qp_prepare_thread(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    struct sigaction action;
    if (sigaction(SIGCHLD, NULL, &action) != 0) return;
    if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT)) return;
    action.sa_flags &= ~SA_NOCLDWAIT;
    if (action.sa_handler == SIG_IGN) action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL);
}
