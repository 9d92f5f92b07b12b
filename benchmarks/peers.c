// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The load of `queuepool bench` on another durable store used as a queue: groups whose order is kept, each sent by one
// connection; a thread a connection, one request outstanding each. Every message is checked: none lost, none doubled,
// none out of its group's order; what is left at the end is received, unmeasured, for that. Prints JSON; fails when the
// check does not hold.
//
// usage: peers PEER MODE SECONDS PORT...
// PEER redis or postgres. MODE send (64 senders, 1 message a request), batch (64 senders, 10), drain (a backlog, 8
// consumers, 10 a request), both (32 senders of 10 and 8 consumers; at most 10,000 messages wait). Environment: PIDS,
// the servers' process ids, whose CPU and that of whose children is counted; BACKLOG, messages that a drain begins
// with; WARM_UP, seconds before the window; SENDERS, connections of send and batch instead of 64, at most 125.

#include "peers.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int ports[PARTS], port_count;

static const peer *store;
static int senders, batch, pids[PARTS], pid_count;
static long limit_of_sender;  // messages a sender sends at most; 0 for no limit
static long backlog_bound;    // senders pause while so many messages wait; 0 for no bound
static int draining;          // consumers go on until their part is empty, many messages a request
static atomic_int stop, dry, ready, go;
static atomic_long sent, received, doubled, disordered;
// Latencies of the sends within the window, by microsecond; the last place has all that took longer.
enum { SLOWEST = 1000000 };
static atomic_int windowed;
static atomic_uint latencies[SLOWEST + 1];
// Each group is sent by one thread and received by one at a time, so its counters need no lock.
static long next_sent[GROUPS], next_seen[GROUPS];

_Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "peers: %s: %s\n", what, why);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void rest(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

// CPU seconds of the servers and their children, also of those that ended.
static double cpu(void) {
    long ticks = 0;
    DIR *directory = opendir("/proc");
    if (!directory) fail("/proc", "not readable");
    for (struct dirent *entry; (entry = readdir(directory));) {
        int pid = atoi(entry->d_name), parent, counts = 0;
        if (pid <= 0) continue;
        char path[64], line[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        char *rest = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        fclose(file);
        long user, system, ended_user, ended_system;
        if (!rest || sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld", &parent, &user,
                            &system, &ended_user, &ended_system) != 5) continue;
        for (int index = 0; index < pid_count; index++) counts |= pid == pids[index] || parent == pids[index];
        if (counts) ticks += user + system + ended_user + ended_system;
    }
    closedir(directory);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void took(const char *body, size_t length) {
    int group;
    long number;
    if (length != BODY || sscanf(body, "%d %ld ", &group, &number) != 2 || group < 0 || group >= GROUPS)
        fail("body", "not one that was sent");
    if (number < next_seen[group]) doubled++;
    else if (number > next_seen[group]) disordered++;
    next_seen[group] = number + 1;
    received++;
}

// The latency in microseconds that a share of the sends did not exceed.
static long percentile(double share) {
    long all = 0, below = 0;
    for (int microsecond = 0; microsecond <= SLOWEST; microsecond++) all += latencies[microsecond];
    for (int microsecond = 0; microsecond <= SLOWEST; microsecond++)
        if ((below += latencies[microsecond]) && (double)below >= share * (double)all) return microsecond;
    return 0;
}

static void started(void) {
    ready++;
    while (!go) rest(0.001);
}

static void *sender(void *argument) {
    int self = (int)(long)argument, mine[PARTS][GROUPS], counts[PARTS] = {0}, at[PARTS] = {0};
    // A request goes to one server, so groups are listed by server; a sender has groups of every part.
    for (int group = 0; group < GROUPS; group++)
        if (group / PARTS % senders == self) {
            int server = group % PARTS % port_count;
            mine[server][counts[server]++] = group;
        }
    void *connection = store->open();
    char (*bodies)[BODY] = malloc(sizeof *bodies * BATCH);
    memset(bodies, 'x', sizeof *bodies * BATCH);
    int groups[BATCH];
    started();
    long mine_sent = 0;
    for (int server = self % port_count; !stop; server = (server + 1) % port_count) {
        if (limit_of_sender && mine_sent >= limit_of_sender) break;
        if (backlog_bound && sent - received >= backlog_bound) {
            rest(0.001);
            continue;
        }
        for (int index = 0; index < batch; index++) {
            int group = mine[server][at[server]++ % counts[server]];
            groups[index] = group;
            int length = snprintf(bodies[index], BODY, "%d %ld ", group, next_sent[group]++);
            bodies[index][length] = 'x';
        }
        double began = now();
        store->send(connection, batch, groups, bodies);
        if (windowed) {
            long took_microseconds = (long)((now() - began) * 1e6);
            latencies[took_microseconds < SLOWEST ? took_microseconds : SLOWEST]++;
        }
        mine_sent += batch;
        sent += batch;
    }
    return NULL;
}

static void *consumer(void *argument) {
    int part = (int)(long)argument;
    void *connection = store->open();
    started();
    while (!stop) {
        int count = store->receive(connection, part, draining ? 500 : BATCH, !draining);
        if (count == 0) {
            dry = 1;
            if (draining) break;
        }
    }
    return NULL;
}

static int start(pthread_t *threads, int count, void *(*body)(void *)) {
    for (int index = 0; index < count; index++)
        if (pthread_create(&threads[index], NULL, body, (void *)(long)index)) fail("thread", "not made");
    return count;
}

static void join(pthread_t *threads, int count) {
    for (int index = 0; index < count; index++) pthread_join(threads[index], NULL);
}

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
}

int main(int count, char **words) {
    if (count < 5 || count - 4 > PARTS) fail("usage", "peers PEER MODE SECONDS PORT...");
    store = !strcmp(words[1], "redis") ? &redis_peer : !strcmp(words[1], "postgres") ? &postgres_peer : NULL;
    const char *mode = words[2];
    int both = !strcmp(mode, "both"), drain = !strcmp(mode, "drain"), single = !strcmp(mode, "send");
    if (!store || !(both || drain || single || !strcmp(mode, "batch"))) fail("usage", "no such peer or mode");
    double seconds = atof(words[3]), warm_up = number("WARM_UP", 1);
    for (int index = 4; index < count; index++) ports[port_count++] = atoi(words[index]);
    char *list = getenv("PIDS");
    for (char *word = list ? strtok(list, " ") : NULL; word && pid_count < PARTS; word = strtok(NULL, " "))
        pids[pid_count++] = atoi(word);

    store->prepare();
    pthread_t threads[256];
    senders = both ? 32 : drain ? 64 : (int)number("SENDERS", 64);
    if (senders < 1 || senders > GROUPS / PARTS) fail("SENDERS", "each needs a group of every part");
    batch = single ? 1 : BATCH;
    // Without a bound senders would take the server's time from the consumers, and the figure would be that of a batch.
    backlog_bound = both ? 10000 : 0;
    if (drain) {
        limit_of_sender = (long)number("BACKLOG", 100000) / senders;
        go = 1;
        join(threads, start(threads, senders, sender));
        go = ready = 0;
    }
    int running = drain ? 0 : start(threads, senders, sender);
    if (drain || both) running += start(threads + running, PARTS, consumer);
    while (ready < running) rest(0.001);
    go = 1;
    rest(drain ? 0.2 : warm_up);
    long sent_before = sent, received_before = received;
    double cpu_before = cpu(), began = now();
    windowed = 1;
    // A drain's window ends when the first part is empty: after that fewer consumers are at work.
    while (now() - began < seconds && !(drain && dry)) rest(0.005);
    double took_seconds = now() - began, cpu_seconds = cpu() - cpu_before;
    windowed = 0;
    long window_sent = sent - sent_before, window_received = received - received_before;
    stop = 1;
    join(threads, running);

    stop = 0;
    draining = 1;
    join(threads, start(threads, PARTS, consumer));
    long lost = 0;
    for (int group = 0; group < GROUPS; group++) lost += next_sent[group] - next_seen[group];
    int holds = lost == 0 && doubled == 0 && disordered == 0 && sent == received;
    // A message that was sent and received within the window counts once.
    long messages = window_sent > window_received ? window_sent : window_received;
    printf("{\"kind\": \"peer\", \"peer\": \"%s\", \"servers\": %d, \"mode\": \"%s\", \"seconds\": %.3f, "
           "\"sent\": %ld, \"received\": %ld, \"sentPerSecond\": %.1f, \"receivedPerSecond\": %.1f, "
           "\"senders\": %d, \"sendMicroseconds\": {\"p50\": %ld, \"p99\": %ld}, \"serverCPUSeconds\": %.2f, "
           "\"serverCPUMicrosecondsPerMessage\": %.2f, \"checks\": {\"holds\": %s, \"sent\": %ld, \"received\": %ld, "
           "\"lost\": %ld, \"doubled\": %ld, \"disordered\": %ld}}\n",
           words[1], port_count, mode, took_seconds, window_sent, window_received, (double)window_sent / took_seconds,
           (double)window_received / took_seconds, senders, percentile(0.5), percentile(0.99), cpu_seconds,
           messages ? cpu_seconds * 1e6 / (double)messages : 0,
           holds ? "true" : "false", sent, received, lost, doubled, disordered);
    return holds ? 0 : 1;
}
