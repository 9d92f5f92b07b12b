// Part of queuepool. Licensed under the Apache License, Version 2.0; see LICENSE.
// SPDX-License-Identifier: Apache-2.0
#include "CFaultyVFS.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is on stable storage of one path. A new file that was never flushed has none.
typedef struct shadow {
    struct shadow *next;
    char *path;
    char *bytes;
    size_t size;
    int exists;
    // The file is gone, and its directory was not flushed since.
    int is_deleted;
} shadow;

struct faulty_disk {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    char name[32];
    pthread_mutex_t lock;
    shadow *shadows;
    enum faulty_operation operation;
    enum faulty_file file;
    int countdown;
    int failures;
};

typedef struct {
    sqlite3_file base;
    faulty_disk *disk;
    enum faulty_file kind;
    char *path;
    sqlite3_file *real;
    // Its first flush flushes its directory too, as the default VFS does for a log that it made.
    int is_new;
} faulty_handle;

#define HANDLE(file) ((faulty_handle *)(file))
#define REAL(file) (HANDLE(file)->real)

// MARK: Shadows; under the lock.

static shadow *find(faulty_disk *disk, const char *path) {
    for (shadow *s = disk->shadows; s; s = s->next)
        if (strcmp(s->path, path) == 0) return s;
    return 0;
}

static shadow *find_or_add(faulty_disk *disk, const char *path) {
    shadow *s = find(disk, path);
    if (s) return s;
    s = calloc(1, sizeof *s);
    s->path = strdup(path);
    s->next = disk->shadows;
    disk->shadows = s;
    return s;
}

static void set(shadow *s, char *bytes, size_t size, int exists) {
    free(s->bytes);
    s->bytes = bytes;
    s->size = size;
    s->exists = exists;
    s->is_deleted = 0;
}

static char *contents(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    char *bytes = malloc(end > 0 ? (size_t)end : 1);
    *size = fread(bytes, 1, end > 0 ? (size_t)end : 0, file);
    fclose(file);
    return bytes;
}

static int store(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    size_t written = fwrite(bytes, 1, size, file);
    return fclose(file) == 0 && written == size ? 0 : -1;
}

// MARK: Orders

static int must_fail(faulty_handle *handle, int is_sync, int *code) {
    faulty_disk *disk = handle->disk;
    int fails = 0;
    pthread_mutex_lock(&disk->lock);
    if (disk->countdown > 0 && (disk->operation == FAULTY_SYNC) == is_sync &&
        (disk->file == FAULTY_ANY || disk->file == handle->kind)) {
        fails = --disk->countdown == 0;
        disk->failures += fails;
        *code = is_sync ? SQLITE_IOERR_FSYNC
                        : disk->operation == FAULTY_WRITE_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    pthread_mutex_unlock(&disk->lock);
    return fails;
}

// MARK: Files

static int f_close(sqlite3_file *file) {
    faulty_handle *handle = HANDLE(file);
    int code = handle->real->pMethods ? handle->real->pMethods->xClose(handle->real) : SQLITE_OK;
    free(handle->real);
    free(handle->path);
    handle->base.pMethods = 0;
    return code;
}
static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) {
    return REAL(f)->pMethods->xRead(REAL(f), to, n, at);
}
// Nothing is written while a folder is copied: a kill leaves all files as they are at one moment, and a copy in which SQLite's
// log is newer than its database, because another thread copied the one into the other meanwhile, has lost what was in both.
static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
    int code;
    if (must_fail(HANDLE(f), 0, &code)) return code;
    pthread_mutex_lock(&HANDLE(f)->disk->lock);
    code = REAL(f)->pMethods->xWrite(REAL(f), from, n, at);
    pthread_mutex_unlock(&HANDLE(f)->disk->lock);
    return code;
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size) {
    pthread_mutex_lock(&HANDLE(f)->disk->lock);
    int code = REAL(f)->pMethods->xTruncate(REAL(f), size);
    pthread_mutex_unlock(&HANDLE(f)->disk->lock);
    return code;
}
static int f_sync(sqlite3_file *f, int flags) {
    faulty_handle *handle = HANDLE(f);
    int code;
    if (must_fail(handle, 1, &code)) return code;
    code = handle->real->pMethods->xSync(handle->real, flags);
    if (code != SQLITE_OK || !handle->path) return code;
    pthread_mutex_lock(&handle->disk->lock);
    size_t size = 0;
    char *bytes = contents(handle->path, &size);
    if (bytes) set(find_or_add(handle->disk, handle->path), bytes, size, 1);
    size_t folder = strrchr(handle->path, '/') - handle->path + 1;
    for (shadow *s = handle->is_new ? handle->disk->shadows : 0; s; s = s->next)
        if (s->is_deleted && strncmp(s->path, handle->path, folder) == 0) set(s, 0, 0, 0);
    handle->is_new = 0;
    pthread_mutex_unlock(&handle->disk->lock);
    return SQLITE_OK;
}
static int f_size(sqlite3_file *f, sqlite3_int64 *size) { return REAL(f)->pMethods->xFileSize(REAL(f), size); }
static int f_lock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xLock(REAL(f), level); }
static int f_unlock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xUnlock(REAL(f), level); }
static int f_check(sqlite3_file *f, int *is) { return REAL(f)->pMethods->xCheckReservedLock(REAL(f), is); }
static int f_control(sqlite3_file *f, int op, void *arg) { return REAL(f)->pMethods->xFileControl(REAL(f), op, arg); }
static int f_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int f_traits(sqlite3_file *f) { return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f)); }

// Version 1: no shared memory and no memory map, which the stores' exclusive mode does without.
static const sqlite3_io_methods methods = {
    1, f_close, f_read, f_write, f_truncate, f_sync, f_size, f_lock, f_unlock, f_check, f_control, f_sector, f_traits,
};

// MARK: The VFS

static int v_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out) {
    faulty_disk *disk = vfs->pAppData;
    faulty_handle *handle = HANDLE(file);
    memset(handle, 0, sizeof *handle);
    handle->disk = disk;
    handle->kind = flags & SQLITE_OPEN_WAL ? FAULTY_WAL : flags & SQLITE_OPEN_MAIN_DB ? FAULTY_MAIN : FAULTY_ANY;
    handle->path = path ? strdup(path) : 0;
    handle->real = calloc(1, (size_t)disk->real->szOsFile);
    if (path) {
        pthread_mutex_lock(&disk->lock);
        shadow *known = find(disk, path);
        int is_there = 0;
        disk->real->xAccess(disk->real, path, SQLITE_ACCESS_EXISTS, &is_there);
        handle->is_new = !is_there && handle->kind == FAULTY_WAL;
        if (known) known->is_deleted = 0;
        if (!known) {
            // What was there before this disk saw it counts as flushed.
            size_t size = 0;
            char *bytes = contents(path, &size);
            set(find_or_add(disk, path), bytes, size, bytes != 0);
        }
        pthread_mutex_unlock(&disk->lock);
    }
    int code = disk->real->xOpen(disk->real, handle->path, handle->real, flags, out);
    file->pMethods = &methods;
    if (code != SQLITE_OK) f_close(file);
    return code;
}
// Until the directory is flushed the file is there again after a loss of power.
static int v_delete(sqlite3_vfs *vfs, const char *path, int sync) {
    faulty_disk *disk = vfs->pAppData;
    int code = disk->real->xDelete(disk->real, path, sync);
    if (code == SQLITE_OK) {
        pthread_mutex_lock(&disk->lock);
        shadow *s = find_or_add(disk, path);
        if (sync) set(s, 0, 0, 0);
        s->is_deleted = !sync;
        pthread_mutex_unlock(&disk->lock);
    }
    return code;
}
static sqlite3_vfs *real(sqlite3_vfs *vfs) { return ((faulty_disk *)vfs->pAppData)->real; }
static int v_access(sqlite3_vfs *v, const char *p, int f, int *r) { return real(v)->xAccess(real(v), p, f, r); }
static int v_full(sqlite3_vfs *v, const char *p, int n, char *o) { return real(v)->xFullPathname(real(v), p, n, o); }
static int v_random(sqlite3_vfs *v, int n, char *o) { return real(v)->xRandomness(real(v), n, o); }
static int v_sleep(sqlite3_vfs *v, int us) { return real(v)->xSleep(real(v), us); }
static int v_time(sqlite3_vfs *v, double *t) { return real(v)->xCurrentTime(real(v), t); }
static int v_error(sqlite3_vfs *v, int n, char *o) { return real(v)->xGetLastError(real(v), n, o); }

faulty_disk *faulty_disk_make(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int count = 0;
    faulty_disk *disk = calloc(1, sizeof *disk);
    pthread_mutex_init(&disk->lock, 0);
    sqlite3_initialize();
    disk->real = sqlite3_vfs_find(0);
    pthread_mutex_lock(&lock);
    snprintf(disk->name, sizeof disk->name, "faulty-%d", ++count);
    pthread_mutex_unlock(&lock);
    disk->vfs = (sqlite3_vfs){
        .iVersion = 1, .szOsFile = sizeof(faulty_handle), .mxPathname = disk->real->mxPathname, .zName = disk->name,
        .pAppData = disk, .xOpen = v_open, .xDelete = v_delete, .xAccess = v_access, .xFullPathname = v_full,
        .xRandomness = v_random, .xSleep = v_sleep, .xCurrentTime = v_time, .xGetLastError = v_error,
    };
    sqlite3_vfs_register(&disk->vfs, 0);
    return disk;
}

const char *faulty_disk_name(const faulty_disk *disk) { return disk->name; }

void faulty_disk_fail(faulty_disk *disk, enum faulty_operation operation, enum faulty_file file, int nth) {
    pthread_mutex_lock(&disk->lock);
    disk->operation = operation;
    disk->file = file;
    disk->countdown = nth;
    pthread_mutex_unlock(&disk->lock);
}

int faulty_disk_failures(faulty_disk *disk) {
    pthread_mutex_lock(&disk->lock);
    int failures = disk->failures;
    pthread_mutex_unlock(&disk->lock);
    return failures;
}

static int copy(faulty_disk *disk, const char *from, const char *to, int keeps_unflushed) {
    int result = 0;
    size_t prefix = strlen(from);
    pthread_mutex_lock(&disk->lock);
    for (shadow *s = disk->shadows; s; s = s->next) {
        if (strncmp(s->path, from, prefix) != 0 || s->path[prefix] != '/') continue;
        char path[4096];
        snprintf(path, sizeof path, "%s%s", to, s->path + prefix);
        size_t size = 0;
        char *bytes = keeps_unflushed ? contents(s->path, &size) : 0;
        if (bytes) result |= store(path, bytes, size);
        free(bytes);
        if (!keeps_unflushed && s->exists) result |= store(path, s->bytes, s->size);
        char *flushed = malloc(s->size ? s->size : 1);
        if (s->size) memcpy(flushed, s->bytes, s->size);
        // Added in front, so this walk does not meet it.
        set(find_or_add(disk, path), flushed, s->size, s->exists);
    }
    pthread_mutex_unlock(&disk->lock);
    return result;
}

int faulty_disk_lose_power(faulty_disk *disk, const char *from, const char *to) { return copy(disk, from, to, 0); }
int faulty_disk_kill(faulty_disk *disk, const char *from, const char *to) { return copy(disk, from, to, 1); }
