// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Keeps a data directory for one server: two writers of one shard would each take the other's commits for damage.
package struct DirectoryLock: Sendable {
    /// Why the lock was not had.
    package enum Failure: Error, Hashable {
        /// Another process holds it.
        case taken
        /// The lock file cannot be made; the system's error number.
        case unusable(Int32)
    }

    /// - Throws: `Failure`. The lock lasts as long as the process.
    package init(path: String) throws(Failure) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, PrivateFile.mode)
        guard descriptor >= 0 else { throw .unusable(errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            throw code == EWOULDBLOCK ? .taken : .unusable(code)
        }
    }
}
