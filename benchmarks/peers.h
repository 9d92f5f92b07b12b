// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What peers.c asks of a peer: a durable store used as a queue that keeps the order of each message group. Groups are
// divided into PARTS; a part has one consumer at a time, which is what keeps the order.

#include <stddef.h>

enum { BODY = 1024, GROUPS = 1000, PARTS = 8, BATCH = 10 };

typedef struct {
    // Empties the store and makes what the run needs.
    void (*prepare)(void);
    // Opens what one sender or consumer needs.
    void *(*open)(void);
    // Sends `count` messages of groups of one server, at most BATCH, and returns when all are durable.
    void (*send)(void *connection, int count, const int *groups, char (*bodies)[BODY]);
    // Receives at most `limit` messages of a part, hands each to `took`, deletes them and returns how many they were.
    // With `waits` it may wait a moment for the first one.
    int (*receive)(void *connection, int part, int limit, int waits);
} peer;

extern const peer redis_peer, postgres_peer;

extern int ports[], port_count;

// A message was received: checks its place in its group.
void took(const char *body, size_t length);

// Ends the run: a benchmark whose peer answers an error has no figures.
_Noreturn void fail(const char *what, const char *why);
