// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A failed call of the system.
struct SystemFailure: Error, Hashable {
    let code: Int32

    /// The call that just failed.
    static var last: SystemFailure { SystemFailure(code: errno) }
}

/// Small files that are there whole, as they were before or as they are after, whatever happens.
enum WholeFile {
    private static let bytesMax = 1 << 24
    private static let mode: mode_t = 0o600

    /// - Returns: `nil` if there is no file.
    static func read(_ path: String) throws(SystemFailure) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .last
        }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .last }
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: piece.prefix(count))
            guard bytes.count <= bytesMax else { throw SystemFailure(code: EFBIG) }
        }
    }

    /// Puts a file in the place of another, or makes it; on stable storage when this returns. Its owner alone may read it.
    static func replace(_ path: String, with bytes: [UInt8]) throws(SystemFailure) {
        let new = path + ".new"
        // One that a crash left.
        unlink(new)
        let file = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else { throw .last }
        do throws(SystemFailure) {
            try write(bytes, to: file)
            guard fsync(file) == 0 else { throw .last }
        } catch {
            close(file)
            unlink(new)
            throw error
        }
        close(file)
        guard rename(new, path) == 0 else {
            let failure = SystemFailure.last
            unlink(new)
            throw failure
        }
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let folder = open(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .last }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw .last }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) throws(SystemFailure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .last }
            rest = rest.dropFirst(count)
        }
    }
}
