// Part of queuepool. Licensed under the Apache License, Version 2.0; see LICENSE.
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A disk for tests: an SQLite VFS over the default one that fails a write or a flush when told, and that knows of each
// file what a loss of power would leave of it: its bytes at its last flush.

typedef struct faulty_disk faulty_disk;

enum faulty_operation { FAULTY_WRITE, FAULTY_WRITE_FULL, FAULTY_SYNC };
enum faulty_file { FAULTY_ANY, FAULTY_MAIN, FAULTY_WAL };

// Makes a disk and registers it under a name of its own, which lives as long as the process.
faulty_disk *faulty_disk_make(void);
const char *faulty_disk_name(const faulty_disk *disk);

// Fails the `nth` operation from now (1 is the next), once; 0 takes the order back.
void faulty_disk_fail(faulty_disk *disk, enum faulty_operation operation, enum faulty_file file, int nth);
// How many of the orders since the start were carried out.
int faulty_disk_failures(faulty_disk *disk);

// Writes what a loss of power now would leave of a folder's files into another folder, which exists. Returns 0, or -1.
int faulty_disk_lose_power(faulty_disk *disk, const char *from, const char *to);
// Writes what a killed process leaves, the operating system living on: all that was written, flushed or not. What of it
// was flushed stays known, so that power can be lost in `to` afterwards. Returns 0, or -1.
int faulty_disk_kill(faulty_disk *disk, const char *from, const char *to);
