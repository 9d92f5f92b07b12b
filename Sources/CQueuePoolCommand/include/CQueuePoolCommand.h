// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a delivery command needs of Linux that the Glibc module leaves out.
#pragma once
#include <stddef.h>

/// A file in memory that has these bytes, stands at its beginning, is closed on exec and cannot be changed; -1 and
/// errno on failure.
int qp_sealed_file(const void *bytes, size_t count);

/// A program to be started in a process group of its own, with no descriptors but its three streams.
typedef struct {
    /// A path, no name to be searched for.
    const char *path;
    char *const *arguments;
    char *const *environment;
    /// Descriptors that become its streams; they stay open here.
    int input, output, error;
    /// Where the child notes itself with `+` before it becomes the program, and where `-` takes the note back if it
    /// never does; -1 for nowhere.
    int registry;
    /// Whether the kernel kills it when the thread that starts it ends.
    int dies_with_thread;
} qp_program;

/// Starts it; blocks until it has become the program. `handle` gets a descriptor of the process that can be polled for
/// its end, closed on exec. The process's id, or -1 and errno.
int qp_start(const qp_program *program, int *handle);

/// How a child of this process ended, without taking its status: 1 and the status as of wait(2), 0 if it runs, -1 and
/// errno if it is none of ours.
int qp_peek(int process, int *status);

/// The two ends of a pipe, closed on exec, of which a write never raises a signal nor waits; 0, or -1 and errno.
int qp_pipe(int ends[2]);

/// Writes a sign, a process's id and a newline; 0, or -1 and errno.
int qp_note(int registry, char sign, int process);

/// Keeps signals from the calling thread, and lets children's statuses be kept until they are taken, also where the
/// process inherited that they are thrown away.
void qp_prepare_thread(void);
