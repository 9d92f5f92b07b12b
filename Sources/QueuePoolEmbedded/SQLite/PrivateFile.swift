// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// Messages lie in these files as they came, so nobody but the server's own user may read them. The modes are given when a
// file is made and not by the process's umask, which the commands that a worker runs would inherit.

/// Files and directories that their owner alone may read.
package enum PrivateFile {
    /// Of files: read and written by the owner.
    static let mode: mode_t = 0o600
    /// Of directories: entered, read and changed by the owner.
    package static let directoryMode: UInt32 = 0o700

    /// Makes an empty file unless there is one, so that SQLite, which gives its own files the mode of the first, makes
    /// none that others may read. One that exists is not opened: closing it would give up SQLite's locks on it.
    static func makeIfMissing(_ path: String) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        if descriptor >= 0 { close(descriptor) }
    }

    /// Something that others than its owner may read or change.
    package struct Wide: Hashable, Sendable {
        package let path: String
        /// The permission bits, in octal.
        package let mode: String
        /// The bits that it should have, in octal.
        package let wanted: String
    }

    /// What in a data directory, itself included, others than the owner may read or change.
    package static func wide(in directory: String) -> [Wide] {
        let shards = directory + "/shards"
        var found = [directory, shards].compactMap { wide($0, wanted: directoryMode) }
        for place in [directory, shards] {
            let names = (SystemFile.names(in: place) ?? []).filter(isOurs).sorted()
            found += names.compactMap { wide("\(place)/\($0)", wanted: mode) }
        }
        return found
    }

    private static func wide(_ path: String, wanted: mode_t) -> Wide? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT != S_IFLNK, status.st_mode & 0o077 != 0 else {
            return nil
        }
        return Wide(path: path, mode: octal(status.st_mode & 0o777), wanted: octal(wanted))
    }

    private static func octal(_ mode: mode_t) -> String { "0" + String(mode, radix: 8) }

    private static func isOurs(_ name: String) -> Bool {
        name == "lock" || name == "reserve.bin" || name == "keys.json"
            || [".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal"].contains { name.hasSuffix($0) }
            || name.contains(".sqlite" + CommitJournal.suffix)
    }
}
