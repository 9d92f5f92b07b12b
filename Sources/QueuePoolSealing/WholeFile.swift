// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A failed call of the system.
struct SystemFailure: Error, Hashable {
    let code: Int32
    /// The file was replaced, and a loss of power may bring the one before back.
    var isReplaced = false

    /// The call that just failed.
    static var last: SystemFailure { SystemFailure(code: errno) }
}

/// What is done to replace a file; a test has one of them fail.
enum FileStep: CaseIterable, Sendable { case clear, make, write, flush, openFolder, rename, flushFolder }

/// Small files that are there whole, as they were before or as they are after, whatever happens.
enum WholeFile {
    private static let bytesMax = 1 << 24
    /// Bytes that are written at once.
    private static let pieceBytes = 4_096
    private static let mode: mode_t = 0o600
    /// What tests have fail, by the file's path: each is asked before a step for the number of the system's error.
    private static let faults = Mutex<[String: @Sendable (FileStep) -> Int32?]>([:])

    /// Has steps of a file's replacement fail, or none any more.
    static func setFault(_ fault: (@Sendable (FileStep) -> Int32?)?, at path: String) {
        faults.withLock { $0[path] = fault }
    }

    private static func begin(_ step: FileStep, _ path: String) throws(SystemFailure) {
        if let code = faults.withLock({ $0[path] })?(step) { throw SystemFailure(code: code) }
    }

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
        let new = newPath(path)
        // One that a crash left.
        clear(path)
        do throws(SystemFailure) {
            try begin(.make, path)
            let file = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
            guard file >= 0 else { throw .last }
            defer { close(file) }
            try write(bytes, to: file, path)
            try begin(.flush, path)
            guard fsync(file) == 0 else { throw .last }
        } catch {
            clear(path)
            throw error
        }
        try put(new, at: path)
    }

    private static func put(_ new: String, at path: String) throws(SystemFailure) {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let folder: Int32
        do throws(SystemFailure) {
            // Before the file is replaced, so that only the flush can fail after that.
            try begin(.openFolder, path)
            folder = open(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard folder >= 0 else { throw .last }
        } catch {
            clear(path)
            throw error
        }
        defer { close(folder) }
        do throws(SystemFailure) {
            try begin(.rename, path)
            guard rename(new, path) == 0 else { throw .last }
        } catch {
            clear(path)
            throw error
        }
        do throws(SystemFailure) {
            try begin(.flushFolder, path)
            guard fsync(folder) == 0 else { throw .last }
        } catch { throw SystemFailure(code: error.code, isReplaced: true) }
    }

    private static func clear(_ path: String) {
        // What stays is in nobody's way: it is removed before the next file is made.
        do throws(SystemFailure) { try begin(.clear, path) } catch { return }
        unlink(newPath(path))
    }

    private static func newPath(_ path: String) -> String { path + ".new" }

    private static func write(_ bytes: [UInt8], to file: Int32, _ path: String) throws(SystemFailure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            try begin(.write, path)
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, min($0.count, pieceBytes)) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .last }
            rest = rest.dropFirst(count)
        }
    }
}
