// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What the disk and SQLite alone can do, with nothing above them: the ceiling for sends in batches and for drains. Several
// WAL files, synchronous=FULL, so that every commit is on stable storage before the next; threads own their files. First
// rows are inserted for some seconds, then all of them are read in order and deleted. Also the bare rate of fdatasync over
// an existing file. Prints JSON.
//
// usage: raw_sqlite DIRECTORY [FILES 8] [THREADS 2] [ROWS_A_COMMIT 64] [BODY_BYTES 1024] [SECONDS 4]

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { files_max = 64 };

static const char *directory;
static int files = 8, threads = 2, rows_a_commit = 64, body_bytes = 1024;
static double seconds = 4;
static sqlite3 *databases[files_max];
static pthread_barrier_t barrier;

typedef struct {
    int first;
    long inserted, deleted;
    double insert_seconds, delete_seconds;
} worker;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void check(int result, int wanted, sqlite3 *database, const char *what) {
    if (result == wanted) return;
    fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(database));
    exit(1);
}

static void run(sqlite3 *database, const char *sql) {
    check(sqlite3_exec(database, sql, 0, 0, 0), SQLITE_OK, database, sql);
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql) {
    sqlite3_stmt *statement;
    check(sqlite3_prepare_v2(database, sql, -1, &statement, 0), SQLITE_OK, database, sql);
    return statement;
}

static void open_file(int index) {
    char path[4096];
    snprintf(path, sizeof path, "%s/raw-%d.sqlite", directory, index);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    check(sqlite3_open_v2(path, &databases[index], flags, 0), SQLITE_OK, databases[index], "open");
    run(databases[index], "PRAGMA page_size=16384");
    run(databases[index], "PRAGMA journal_mode=WAL");
    run(databases[index], "PRAGMA synchronous=FULL");
    // Debian's SQLite overwrites deleted rows with zeros by default; a ceiling does no such work.
    run(databases[index], "PRAGMA secure_delete=OFF");
    run(databases[index], "PRAGMA locking_mode=EXCLUSIVE");
    run(databases[index], "CREATE TABLE messages(sequence INTEGER PRIMARY KEY, body BLOB NOT NULL)");
}

static void insert_commit(sqlite3 *database, sqlite3_stmt *insert, long *sequence, const char *body) {
    run(database, "BEGIN IMMEDIATE");
    for (int row = 0; row < rows_a_commit; row++) {
        sqlite3_bind_int64(insert, 1, ++*sequence);
        sqlite3_bind_blob(insert, 2, body, body_bytes, SQLITE_STATIC);
        check(sqlite3_step(insert), SQLITE_DONE, database, "insert");
        sqlite3_reset(insert);
    }
    run(database, "COMMIT");
}

// Reads and deletes one commit's rows. The count of rows that were there.
static int delete_commit(sqlite3 *database, sqlite3_stmt *read, sqlite3_stmt *delete, long *sequence, char *copy) {
    int rows = 0;
    long last = *sequence;
    sqlite3_bind_int64(read, 1, *sequence);
    sqlite3_bind_int(read, 2, rows_a_commit);
    while (sqlite3_step(read) == SQLITE_ROW) {
        last = (long)sqlite3_column_int64(read, 0);
        memcpy(copy, sqlite3_column_blob(read, 1), (size_t)sqlite3_column_bytes(read, 1));
        rows++;
    }
    sqlite3_reset(read);
    if (rows == 0) return 0;
    run(database, "BEGIN IMMEDIATE");
    for (long row = *sequence + 1; row <= last; row++) {
        sqlite3_bind_int64(delete, 1, row);
        check(sqlite3_step(delete), SQLITE_DONE, database, "delete");
        sqlite3_reset(delete);
    }
    run(database, "COMMIT");
    *sequence = last;
    return rows;
}

static void *work(void *argument) {
    worker *self = argument;
    sqlite3_stmt *inserts[files_max], *reads[files_max], *deletes[files_max];
    long inserted[files_max] = {0}, deleted[files_max] = {0};
    char *body = malloc((size_t)body_bytes), *copy = malloc((size_t)body_bytes);
    for (int index = 0; index < body_bytes; index++) body[index] = (char)('a' + index * 7 % 26);
    for (int file = self->first; file < files; file += threads) {
        inserts[file] = prepare(databases[file], "INSERT INTO messages VALUES(?, ?)");
        reads[file] = prepare(
            databases[file], "SELECT sequence, body FROM messages WHERE sequence > ? ORDER BY sequence LIMIT ?");
        deletes[file] = prepare(databases[file], "DELETE FROM messages WHERE sequence = ?");
    }
    pthread_barrier_wait(&barrier);
    double start = now();
    while (now() - start < seconds)
        for (int file = self->first; file < files; file += threads) {
            insert_commit(databases[file], inserts[file], &inserted[file], body);
            self->inserted += rows_a_commit;
        }
    self->insert_seconds = now() - start;
    pthread_barrier_wait(&barrier);
    start = now();
    for (int rows = 1; rows > 0;) {
        rows = 0;
        for (int file = self->first; file < files; file += threads)
            rows += delete_commit(databases[file], reads[file], deletes[file], &deleted[file], copy);
        self->deleted += rows;
    }
    self->delete_seconds = now() - start;
    for (int file = self->first; file < files; file += threads) {
        sqlite3_finalize(inserts[file]);
        sqlite3_finalize(reads[file]);
        sqlite3_finalize(deletes[file]);
    }
    free(body);
    free(copy);
    return 0;
}

static double flushes_a_second(void) {
    char path[4096], block[4096] = {0};
    snprintf(path, sizeof path, "%s/flush", directory);
    int descriptor = open(path, O_RDWR | O_CREAT, 0600);
    if (descriptor < 0) {
        fprintf(stderr, "open: %s\n", strerror(errno));
        exit(1);
    }
    for (int index = 0; index < 256; index++)
        if (write(descriptor, block, sizeof block) != sizeof block) exit(1);
    fsync(descriptor);
    long count = 0;
    double start = now();
    while (now() - start < 1) {
        if (pwrite(descriptor, block, sizeof block, count % 256 * 4096) != sizeof block || fdatasync(descriptor)) exit(1);
        count++;
    }
    double rate = (double)count / (now() - start);
    close(descriptor);
    unlink(path);
    return rate;
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: %s DIRECTORY [FILES] [THREADS] [ROWS_A_COMMIT] [BODY_BYTES] [SECONDS]\n", arguments[0]);
        return 64;
    }
    directory = arguments[1];
    if (count > 2) files = atoi(arguments[2]);
    if (count > 3) threads = atoi(arguments[3]);
    if (count > 4) rows_a_commit = atoi(arguments[4]);
    if (count > 5) body_bytes = atoi(arguments[5]);
    if (count > 6) seconds = atof(arguments[6]);
    if (files < 1 || files > files_max || threads < 1 || threads > files || rows_a_commit < 1 || body_bytes < 1) return 64;
    double flushes = flushes_a_second();
    for (int file = 0; file < files; file++) open_file(file);
    pthread_barrier_init(&barrier, 0, (unsigned)threads);
    pthread_t handles[files_max];
    worker workers[files_max] = {{0}};
    for (int index = 0; index < threads; index++) {
        workers[index].first = index;
        pthread_create(&handles[index], 0, work, &workers[index]);
    }
    double inserts = 0, deletes = 0, slowest = 0;
    long rows = 0;
    for (int index = 0; index < threads; index++) {
        pthread_join(handles[index], 0);
        inserts += (double)workers[index].inserted / workers[index].insert_seconds;
        rows += workers[index].deleted;
        if (workers[index].delete_seconds > slowest) slowest = workers[index].delete_seconds;
    }
    deletes = (double)rows / slowest;
    for (int file = 0; file < files; file++) sqlite3_close(databases[file]);
    printf(
        "{\"sqlite\": \"%s\", \"files\": %d, \"threads\": %d, \"rowsACommit\": %d, \"bodyBytes\": %d, "
        "\"insertsPerSecond\": %.0f, \"readDeletesPerSecond\": %.0f, \"fdatasyncsPerSecond\": %.0f}\n",
        sqlite3_libversion(), files, threads, rows_a_commit, body_bytes, inserts, deletes, flushes);
    return 0;
}
