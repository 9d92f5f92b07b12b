// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Redis Streams as a queue: one stream a part, on one or several servers. A batch is a pipeline of XADD; a receive is
// XREADGROUP, a delete XACK and XDEL in one pipeline.

#include "peers.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    redisContext *servers[PARTS];
} connection;

static void *open_redis(void) {
    connection *made = calloc(1, sizeof *made);
    for (int server = 0; server < port_count; server++) {
        made->servers[server] = redisConnect("127.0.0.1", ports[server]);
        if (!made->servers[server] || made->servers[server]->err) fail("connect", "no Redis there");
    }
    return made;
}

static redisReply *answer(redisContext *context) {
    redisReply *reply = NULL;
    if (redisGetReply(context, (void **)&reply) != REDIS_OK) fail("Redis", context->errstr);
    if (reply->type == REDIS_REPLY_ERROR) fail("Redis", reply->str);
    return reply;
}

static void prepare(void) {
    connection *opened = open_redis();
    for (int server = 0; server < port_count; server++) {
        redisAppendCommand(opened->servers[server], "FLUSHALL");
        freeReplyObject(answer(opened->servers[server]));
    }
    for (int part = 0; part < PARTS; part++) {
        redisContext *context = opened->servers[part % port_count];
        redisAppendCommand(context, "XGROUP CREATE q%d g 0 MKSTREAM", part);
        freeReplyObject(answer(context));
    }
    for (int server = 0; server < port_count; server++) redisFree(opened->servers[server]);
    free(opened);
}

static void send_messages(void *opened, int count, const int *groups, char (*bodies)[BODY]) {
    redisContext *context = ((connection *)opened)->servers[groups[0] % PARTS % port_count];
    for (int index = 0; index < count; index++) {
        char key[16];
        int length = snprintf(key, sizeof key, "q%d", groups[index] % PARTS);
        const char *words[] = {"XADD", key, "*", "b", bodies[index]};
        const size_t lengths[] = {4, (size_t)length, 1, 1, BODY};
        redisAppendCommandArgv(context, 5, words, lengths);
    }
    for (int index = 0; index < count; index++) freeReplyObject(answer(context));
}

static int receive(void *opened, int part, int limit, int waits) {
    redisContext *context = ((connection *)opened)->servers[part % port_count];
    if (waits)
        redisAppendCommand(context, "XREADGROUP GROUP g c COUNT %d BLOCK 50 STREAMS q%d >", limit, part);
    else
        redisAppendCommand(context, "XREADGROUP GROUP g c COUNT %d STREAMS q%d >", limit, part);
    redisReply *reply = answer(context);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        freeReplyObject(reply);
        return 0;
    }
    // [[stream, [[id, [field, value]], ...]]]
    redisReply *entries = reply->element[0]->element[1];
    int count = (int)entries->elements;
    char key[16];
    int length = snprintf(key, sizeof key, "q%d", part);
    const char **words = malloc(sizeof *words * (size_t)(count + 3));
    size_t *lengths = malloc(sizeof *lengths * (size_t)(count + 3));
    for (int index = 0; index < count; index++) {
        redisReply *entry = entries->element[index], *value = entry->element[1]->element[1];
        took(value->str, value->len);
        words[3 + index] = entry->element[0]->str;
        lengths[3 + index] = entry->element[0]->len;
    }
    words[0] = "XACK", lengths[0] = 4;
    words[1] = key, lengths[1] = (size_t)length;
    words[2] = "g", lengths[2] = 1;
    redisAppendCommandArgv(context, count + 3, words, lengths);
    words[1] = "XDEL", lengths[1] = 4;
    words[2] = key, lengths[2] = (size_t)length;
    redisAppendCommandArgv(context, count + 2, words + 1, lengths + 1);
    for (int command = 0; command < 2; command++) {
        redisReply *done = answer(context);
        if (done->integer != count) fail("Redis", "not all were acknowledged and deleted");
        freeReplyObject(done);
    }
    free(words);
    free(lengths);
    freeReplyObject(reply);
    return count;
}

const peer redis_peer = {prepare, open_redis, send_messages, receive};
