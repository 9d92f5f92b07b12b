// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

#include "CQueuePoolEpoll.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { ready_max = 256 };

int qp_epoll_new(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int set, int operation, int descriptor, uint64_t tag, int writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data = {.u64 = tag}};
    return epoll_ctl(set, operation, descriptor, &event);
}

int qp_epoll_add(int set, int descriptor, uint64_t tag, int writable) {
    return control(set, EPOLL_CTL_ADD, descriptor, tag, writable);
}

int qp_epoll_change(int set, int descriptor, uint64_t tag, int writable) {
    return control(set, EPOLL_CTL_MOD, descriptor, tag, writable);
}

int qp_epoll_wait(int set, qp_ready *ready, int capacity, int milliseconds) {
    struct epoll_event events[ready_max];
    int count = epoll_wait(set, events, capacity < ready_max ? capacity : ready_max, milliseconds);
    for (int index = 0; index < count; index++) {
        ready[index].tag = events[index].data.u64;
        ready[index].writable = events[index].events & EPOLLOUT ? 1 : 0;
        // An error or a hang-up shows when the descriptor is read.
        ready[index].readable = events[index].events & ~(uint32_t)EPOLLOUT ? 1 : 0;
    }
    return count;
}

int qp_timer_new(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }

int qp_timer_set(int timer, uint64_t nanoseconds) {
    struct itimerspec value = {{0, 0}, {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)}};
    if (nanoseconds == 0) value.it_value.tv_nsec = 1;
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &value, 0);
}
