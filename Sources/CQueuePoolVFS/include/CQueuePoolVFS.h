// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

#pragma once

// A VFS of SQLite for a file in WAL mode that several connections of this process use and nobody else may. What SQLite
// keeps in a file "-shm" for other processes lies in this process's memory, and its locks cost no call of the system; the
// first connection locks the file against other processes until it is closed, as locking_mode=EXCLUSIVE does, which would
// allow only one connection.
//
// The connection that opened the file first must be closed last, and the others without a checkpoint
// (SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).

// Registers the VFS over another one, once; from any thread.
// - below: the name of a registered VFS; 0 for the default one.
// Returns its name, which stays valid; 0 if there is no such VFS, or no memory.
const char *queuepool_shared_vfs(const char *below);
