// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "CQueuePoolVFS.h"

// A handle is the VFS's below with something behind it: SQLite gives room for both, the VFS below sees its own part, and of
// its methods only those for locks and shared memory are replaced. Files other than databases are left as they are.

// What the connections to one file share. Regions are never moved: connections keep pointers to them.
typedef struct Node {
    struct Node *next;
    char *path;
    // Handles that are open; under `registry`.
    int handles;
    pthread_mutex_t lock;
    // Under `lock`, as all below.
    sqlite3_file *locker;
    // To pass on to the disk what a later handle writes; -1 if there is none. It stays open as long as the file is in use,
    // because to close it would give up the process's locks.
    int descriptor;
    int maps;
    void **regions;
    int regionCount;
    unsigned exclusive;
    int shared[SQLITE_SHM_NLOCK];
} Node;

typedef struct {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *below;
    Node *node;
    int isMapped;
    // Locks of shared memory that this handle has, as bits.
    unsigned shared, exclusive;
    // What it wrote and the disk did not get yet.
    sqlite3_int64 begin, end, written;
} Beside;

typedef struct Layer {
    struct Layer *next;
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
} Layer;

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static Layer *layers;
static Node *nodes;

// The methods of a handle are the first member of what stands beside it.
static Beside *beside(sqlite3_file *file) { return (Beside *)file->pMethods; }

static Node *take_node(const char *path) {
    pthread_mutex_lock(&registry);
    Node *node = nodes;
    while (node && strcmp(node->path, path)) node = node->next;
    if (!node && (node = calloc(1, sizeof *node))) {
        node->path = strdup(path);
        if (!node->path || pthread_mutex_init(&node->lock, 0)) {
            free(node->path);
            free(node);
            node = 0;
        } else {
            node->descriptor = open(path, O_RDONLY | O_CLOEXEC);
            node->next = nodes;
            nodes = node;
        }
    }
    if (node) node->handles++;
    pthread_mutex_unlock(&registry);
    return node;
}

static void free_regions(Node *node) {
    for (int i = 0; i < node->regionCount; i++) free(node->regions[i]);
    free(node->regions);
    node->regions = 0;
    node->regionCount = 0;
}

static void drop_node(Node *node) {
    pthread_mutex_lock(&registry);
    int isLast = --node->handles == 0;
    if (isLast) {
        Node **place = &nodes;
        while (*place != node) place = &(*place)->next;
        *place = node->next;
        // Before somebody opens the file anew and locks it: closing would give that lock up.
        if (node->descriptor >= 0) close(node->descriptor);
    }
    pthread_mutex_unlock(&registry);
    if (!isLast) return;
    free_regions(node);
    pthread_mutex_destroy(&node->lock);
    free(node->path);
    free(node);
}

// MARK: - The file's lock

static int lock_file(sqlite3_file *file, int level) {
    Beside *own = beside(file);
    Node *node = own->node;
    int code = SQLITE_OK;
    pthread_mutex_lock(&node->lock);
    if (!node->locker) {
        code = own->below->xLock(file, SQLITE_LOCK_SHARED);
        if (code == SQLITE_OK) {
            code = own->below->xLock(file, SQLITE_LOCK_EXCLUSIVE);
            if (code != SQLITE_OK) own->below->xUnlock(file, SQLITE_LOCK_NONE);
        }
        if (code == SQLITE_OK) node->locker = file;
    } else if (level == SQLITE_LOCK_EXCLUSIVE) {
        // Asked for by a connection that wants to be the only one: to leave WAL mode, or to remove the log as the last.
        pthread_mutex_lock(&registry);
        if (node->handles > 1) code = SQLITE_BUSY;
        pthread_mutex_unlock(&registry);
    }
    pthread_mutex_unlock(&node->lock);
    return code;
}

// The lock is kept until the handle is closed.
static int unlock_file(sqlite3_file *file, int level) {
    (void)file, (void)level;
    return SQLITE_OK;
}

static int check_reserved(sqlite3_file *file, int *isReserved) {
    (void)file;
    *isReserved = 0;
    return SQLITE_OK;
}

// MARK: - Shared memory

static int map_region(sqlite3_file *file, int number, int bytes, int mayMake, void volatile **out) {
    Beside *own = beside(file);
    Node *node = own->node;
    int code = SQLITE_OK;
    *out = 0;
    pthread_mutex_lock(&node->lock);
    if (!own->isMapped) {
        own->isMapped = 1;
        node->maps++;
    }
    while (mayMake && node->regionCount <= number && code == SQLITE_OK) {
        void **regions = realloc(node->regions, (size_t)(node->regionCount + 1) * sizeof *regions);
        if (regions) node->regions = regions;
        void *region = regions ? calloc(1, (size_t)bytes) : 0;
        if (region) {
            node->regions[node->regionCount++] = region;
        } else {
            code = SQLITE_IOERR_NOMEM;
        }
    }
    if (number < node->regionCount) *out = node->regions[number];
    pthread_mutex_unlock(&node->lock);
    return code;
}

static unsigned bits(int first, int count) { return (1u << (first + count)) - (1u << first); }

static int lock_slots(Beside *own, int first, int count, int isShared) {
    Node *node = own->node;
    unsigned mask = bits(first, count);
    if ((isShared ? own->shared : own->exclusive) & mask) return SQLITE_OK;
    if (node->exclusive & mask) return SQLITE_BUSY;
    if (isShared) {
        for (int i = first; i < first + count; i++) node->shared[i]++;
        own->shared |= mask;
        return SQLITE_OK;
    }
    for (int i = first; i < first + count; i++) {
        if (node->shared[i] > 0) return SQLITE_BUSY;
    }
    node->exclusive |= mask;
    own->exclusive |= mask;
    return SQLITE_OK;
}

static void unlock_slots(Beside *own, int first, int count) {
    Node *node = own->node;
    for (int i = first; i < first + count; i++) {
        if (own->shared & bits(i, 1)) node->shared[i]--;
    }
    unsigned mask = bits(first, count);
    node->exclusive &= ~(own->exclusive & mask);
    own->shared &= ~mask;
    own->exclusive &= ~mask;
}

static int lock_shared_memory(sqlite3_file *file, int first, int count, int flags) {
    Beside *own = beside(file);
    int code = SQLITE_OK;
    pthread_mutex_lock(&own->node->lock);
    if (flags & SQLITE_SHM_UNLOCK) {
        unlock_slots(own, first, count);
    } else {
        code = lock_slots(own, first, count, flags & SQLITE_SHM_SHARED);
    }
    pthread_mutex_unlock(&own->node->lock);
    return code;
}

static void barrier(sqlite3_file *file) {
    (void)file;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int unmap(sqlite3_file *file, int mustDelete) {
    (void)mustDelete;
    Beside *own = beside(file);
    pthread_mutex_lock(&own->node->lock);
    unlock_slots(own, 0, SQLITE_SHM_NLOCK);
    if (own->isMapped) {
        own->isMapped = 0;
        if (--own->node->maps == 0) free_regions(own->node);
    }
    pthread_mutex_unlock(&own->node->lock);
    return SQLITE_OK;
}

// MARK: - Files

// A flush of 32 MiB keeps the disk for as long as it takes, and every flush of the log beside it. So what a handle beside
// the first writes goes to the disk in pieces, between which others have their turn.
static const sqlite3_int64 piece = 256 << 10;

static int write_file(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    Beside *own = beside(file);
    int code = own->below->xWrite(file, bytes, count, offset);
    Node *node = own->node;
    if (code != SQLITE_OK || node->locker == file || node->descriptor < 0) return code;
    if (own->begin == own->end) own->begin = own->end = offset;
    if (offset < own->begin) own->begin = offset;
    if (offset + count > own->end) own->end = offset + count;
    own->written += count;
    if (own->written < piece) return code;
    // A failure is told by the flush that follows, of a descriptor of its own.
    (void)sync_file_range(
        node->descriptor, own->begin, own->end - own->begin,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    own->begin = own->end = own->written = 0;
    return code;
}

static int close_file(sqlite3_file *file) {
    Beside *own = beside(file);
    Node *node = own->node;
    unmap(file, 0);
    pthread_mutex_lock(&node->lock);
    if (node->locker == file) node->locker = 0;
    pthread_mutex_unlock(&node->lock);
    file->pMethods = own->below;
    int code = file->pMethods->xClose(file);
    drop_node(node);
    return code;
}

static size_t room_of(const sqlite3_vfs *below) { return ((size_t)below->szOsFile + 15) / 16 * 16; }

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out) {
    sqlite3_vfs *below = ((Layer *)((char *)vfs - offsetof(Layer, vfs)))->below;
    int code = below->xOpen(below, path, file, flags, out);
    if (code != SQLITE_OK || !path || !(flags & SQLITE_OPEN_MAIN_DB)) return code;
    Node *node = take_node(path);
    if (!node) {
        file->pMethods->xClose(file);
        file->pMethods = 0;
        return SQLITE_NOMEM;
    }
    Beside *own = (Beside *)((char *)file + room_of(below));
    memset(own, 0, sizeof *own);
    own->below = file->pMethods;
    own->node = node;
    own->methods = *own->below;
    if (own->methods.iVersion < 2) own->methods.iVersion = 2;
    own->methods.xClose = close_file;
    own->methods.xWrite = write_file;
    own->methods.xLock = lock_file;
    own->methods.xUnlock = unlock_file;
    own->methods.xCheckReservedLock = check_reserved;
    own->methods.xShmMap = map_region;
    own->methods.xShmLock = lock_shared_memory;
    own->methods.xShmBarrier = barrier;
    own->methods.xShmUnmap = unmap;
    file->pMethods = &own->methods;
    return SQLITE_OK;
}

static Layer *make_layer(sqlite3_vfs *below) {
    static const char prefix[] = "queuepool-shared-";
    Layer *layer = calloc(1, sizeof *layer);
    char *name = malloc(sizeof prefix + strlen(below->zName));
    if (!layer || !name) {
        free(layer);
        free(name);
        return 0;
    }
    strcat(strcpy(name, prefix), below->zName);
    layer->below = below;
    layer->vfs = *below;
    layer->vfs.zName = name;
    layer->vfs.pNext = 0;
    layer->vfs.szOsFile = (int)(room_of(below) + sizeof(Beside));
    layer->vfs.xOpen = open_file;
    return layer;
}

const char *queuepool_shared_vfs(const char *belowName) {
    sqlite3_vfs *below = sqlite3_vfs_find(belowName);
    if (!below) return 0;
    pthread_mutex_lock(&registry);
    Layer *layer = layers;
    while (layer && layer->below != below) layer = layer->next;
    if (!layer && (layer = make_layer(below))) {
        if (sqlite3_vfs_register(&layer->vfs, 0) == SQLITE_OK) {
            layer->next = layers;
            layers = layer;
        } else {
            free((char *)layer->vfs.zName);
            free(layer);
            layer = 0;
        }
    }
    const char *name = layer ? layer->vfs.zName : 0;
    pthread_mutex_unlock(&registry);
    return name;
}
