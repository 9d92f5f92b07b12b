// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolSettings

/// A file with a secret, which its owner alone may read or change.
struct SecretFile: Sendable {
    let setting: Setting
    let path: String

    /// The text of its first bytes.
    /// - Throws: `CommandFailure` that names the setting and the file, and shows nothing of what is in it.
    func read(bytesMax: Int) throws(CommandFailure) -> String {
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw wrong("cannot be read: \(systemMessage(errno))") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw wrong("is no plain file") }
        guard status.st_mode & 0o077 == 0 else {
            throw wrong("may be read or changed by others than its owner (chmod 600 mends it)")
        }
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        let count = Glibc.read(file, &bytes, bytes.count)
        guard count >= 0 else { throw wrong("cannot be read: \(systemMessage(errno))") }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// What is wrong with it.
    func wrong(_ what: String) -> CommandFailure { CommandFailure(setting, file: path, what) }
}
