// Part of queuepool. Licensed under the Apache License, Version 2.0; see LICENSE.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sqlite3.h>

// Flushes the write-ahead log of a connection's main database, as synchronous=FULL does at the end of a commit.
static inline int queuepool_sqlite_flush_wal(sqlite3 *database) {
    sqlite3_file *wal = 0;
    int code = sqlite3_file_control(database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (code != SQLITE_OK) return code;
    // No file yet: nothing was written.
    if (!wal || !wal->pMethods) return SQLITE_OK;
    return wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

// sqlite3_db_config takes a variable number of arguments, which Swift cannot pass.
static inline int queuepool_sqlite_close_without_checkpoint(sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
