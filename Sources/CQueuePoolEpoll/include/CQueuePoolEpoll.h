// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// epoll and timerfd for the load client of `bench`: the Glibc module leaves both out. The header includes no system
// header, so that importing it moves no libc type into this module.
#pragma once
#include <stdint.h>

/// A descriptor that is ready.
typedef struct {
    uint64_t tag;
    uint32_t writable;
    uint32_t readable;
} qp_ready;

/// A new epoll set; -1 and errno on failure.
int qp_epoll_new(void);
/// Adds a descriptor that waits for input, and for room to write if asked. 0, or -1 and errno.
int qp_epoll_add(int set, int descriptor, uint64_t tag, int writable);
/// Changes whether the descriptor waits for room to write. 0, or -1 and errno.
int qp_epoll_change(int set, int descriptor, uint64_t tag, int writable);
/// Waits at most `milliseconds`; fills at most 256 of `ready`. The count, or -1 and errno.
int qp_epoll_wait(int set, qp_ready *ready, int capacity, int milliseconds);
/// A non-blocking timer on the monotonic clock; -1 and errno on failure.
int qp_timer_new(void);
/// Makes the timer readable at this moment of the monotonic clock. 0, or -1 and errno.
int qp_timer_set(int timer, uint64_t nanoseconds);
