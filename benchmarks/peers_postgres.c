// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// PostgreSQL as a queue: one table, an index on (part, id), prepared statements in binary. A batch is one INSERT of ten
// rows. A receive is DELETE ... RETURNING of the first rows of a part in a transaction, a delete its COMMIT, so that a
// consumer that dies gives its messages back; two round trips, as for the others. A part has one consumer, so FOR
// UPDATE SKIP LOCKED never skips here; it is what would guard a part that two consumers hold for a moment.

#include "peers.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { INT4 = 23, BYTEA = 17 };

static void expect(PGconn *opened, PGresult *result, ExecStatusType status) {
    if (PQresultStatus(result) != status) fail("PostgreSQL", PQerrorMessage(opened));
    PQclear(result);
}

static void command(PGconn *opened, const char *text) { expect(opened, PQexec(opened, text), PGRES_COMMAND_OK); }

static PGconn *connect_only(void) {
    char words[128];
    snprintf(words, sizeof words, "host=127.0.0.1 port=%d user=peer dbname=postgres sslmode=disable", ports[0]);
    PGconn *opened = PQconnectdb(words);
    if (PQstatus(opened) != CONNECTION_OK) fail("connect", PQerrorMessage(opened));
    return opened;
}

static void prepare(void) {
    // It listens before it takes connections.
    char words[64];
    snprintf(words, sizeof words, "host=127.0.0.1 port=%d", ports[0]);
    for (int tries = 0; tries < 600 && PQping(words) != PQPING_OK; tries++)
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    PGconn *opened = connect_only();
    command(opened, "SET client_min_messages = warning");
    command(opened, "DROP TABLE IF EXISTS messages");
    command(opened, "CREATE TABLE messages (id bigserial PRIMARY KEY, grp int NOT NULL, body bytea NOT NULL)");
    // Bodies are of one letter: compressing them would be a saving that real ones do not have.
    command(opened, "ALTER TABLE messages ALTER body SET STORAGE EXTERNAL");
    command(opened, "CREATE INDEX ON messages ((grp % 8), id)");
    PQfinish(opened);
}

static void *open_postgres(void) {
    PGconn *opened = connect_only();
    // One plan, by the index: the table is new, so the planner has no statistics to choose by.
    command(opened, "SET plan_cache_mode = force_generic_plan");
    command(opened, "SET enable_seqscan = off");
    command(opened, "SET enable_bitmapscan = off");
    command(opened, "SET enable_sort = off");
    char text[512];
    Oid types[2 * BATCH];
    for (int rows = 1; rows <= BATCH; rows += BATCH - 1) {
        int length = snprintf(text, sizeof text, "INSERT INTO messages (grp, body) VALUES ");
        for (int row = 0; row < rows; row++) {
            length += snprintf(text + length, sizeof text - (size_t)length, "%s($%d, $%d)", row ? ", " : "",
                               2 * row + 1, 2 * row + 2);
            types[2 * row] = INT4;
            types[2 * row + 1] = BYTEA;
        }
        expect(opened, PQprepare(opened, rows == 1 ? "one" : "ten", text, 2 * rows, types), PGRES_COMMAND_OK);
    }
    const Oid integers[] = {INT4, INT4};
    expect(opened, PQprepare(opened, "take",
                             "DELETE FROM messages WHERE id = ANY (ARRAY (SELECT id FROM messages WHERE grp % 8 = $1 "
                             "ORDER BY grp % 8, id LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING id, body", 2, integers),
           PGRES_COMMAND_OK);
    expect(opened, PQprepare(opened, "begin", "BEGIN", 0, NULL), PGRES_COMMAND_OK);
    expect(opened, PQprepare(opened, "commit", "COMMIT", 0, NULL), PGRES_COMMAND_OK);
    return opened;
}

static void send_messages(void *opened, int count, const int *groups, char (*bodies)[BODY]) {
    uint32_t numbers[BATCH];
    const char *values[2 * BATCH];
    int lengths[2 * BATCH], formats[2 * BATCH];
    for (int row = 0; row < count; row++) {
        numbers[row] = htonl((uint32_t)groups[row]);
        values[2 * row] = (const char *)&numbers[row], lengths[2 * row] = 4, formats[2 * row] = 1;
        values[2 * row + 1] = bodies[row], lengths[2 * row + 1] = BODY, formats[2 * row + 1] = 1;
    }
    expect(opened, PQexecPrepared(opened, count == 1 ? "one" : "ten", 2 * count, values, lengths, formats, 1),
           PGRES_COMMAND_OK);
}

typedef struct {
    uint64_t id;
    int row;
} place;

static int by_id(const void *one, const void *other) {
    uint64_t left = ((const place *)one)->id, right = ((const place *)other)->id;
    return (left > right) - (left < right);
}

// The result of the next statement of a pipeline, and the NULL that ends it.
static PGresult *next(PGconn *opened, ExecStatusType status) {
    PGresult *result = PQgetResult(opened);
    if (PQresultStatus(result) != status) fail("PostgreSQL", PQerrorMessage(opened));
    if (status != PGRES_PIPELINE_SYNC) PQclear(PQgetResult(opened));
    return result;
}

static int receive(void *connection, int part, int limit, int waits) {
    PGconn *opened = connection;
    uint32_t numbers[] = {htonl((uint32_t)part), htonl((uint32_t)limit)};
    const char *values[] = {(const char *)&numbers[0], (const char *)&numbers[1]};
    const int lengths[] = {4, 4}, formats[] = {1, 1};
    if (!PQenterPipelineMode(opened) || !PQsendQueryPrepared(opened, "begin", 0, NULL, NULL, NULL, 1) ||
        !PQsendQueryPrepared(opened, "take", 2, values, lengths, formats, 1) || !PQpipelineSync(opened))
        fail("PostgreSQL", PQerrorMessage(opened));
    PQclear(next(opened, PGRES_COMMAND_OK));
    PGresult *rows = next(opened, PGRES_TUPLES_OK);
    PQclear(next(opened, PGRES_PIPELINE_SYNC));
    if (!PQexitPipelineMode(opened)) fail("PostgreSQL", PQerrorMessage(opened));
    // RETURNING has no order.
    int count = PQntuples(rows);
    place *places = malloc(sizeof *places * (size_t)(count + 1));
    for (int row = 0; row < count; row++) {
        const unsigned char *bytes = (const unsigned char *)PQgetvalue(rows, row, 0);
        places[row] = (place){0, row};
        for (int byte = 0; byte < 8; byte++) places[row].id = places[row].id << 8 | bytes[byte];
    }
    qsort(places, (size_t)count, sizeof *places, by_id);
    for (int row = 0; row < count; row++)
        took(PQgetvalue(rows, places[row].row, 1), (size_t)PQgetlength(rows, places[row].row, 1));
    free(places);
    PQclear(rows);
    expect(opened, PQexecPrepared(opened, "commit", 0, NULL, NULL, NULL, 1), PGRES_COMMAND_OK);
    if (count == 0 && waits) nanosleep(&(struct timespec){0, 5000000}, NULL);
    return count;
}

const peer postgres_peer = {prepare, open_postgres, send_messages, receive};
