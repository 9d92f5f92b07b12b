// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore

/// The file of an audit log, opened for appending. Used by one thread.
struct AuditFile: ~Copyable {
    private let descriptor: Int32
    /// A write ended within a line, in this process or before it: the next one begins on a line of its own.
    private var isTorn: Bool
    /// Stands in for the system's flush in tests.
    private let flush: @Sendable (Int32) -> Int32

    /// Opens the file, or makes it for its owner alone. One that exists keeps its mode: whoever rotates logs sets it.
    /// - Throws: `AuditError.failed`.
    init(path: String, flush: @escaping @Sendable (Int32) -> Int32 = fdatasync) throws(AuditError) {
        let isNew = SystemFile.byteCount(of: path) == nil
        // To read as well: how its last line ends. Not to wait for the reader of a pipe.
        let descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, PrivateFile.mode)
        guard descriptor >= 0 else { throw .failed(code: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            // A pipe or a terminal keeps nothing.
            throw .failed(code: EINVAL)
        }
        if isNew {
            // A file whose name is lost with the power is no record.
            let slash = path.lastIndex(of: "/")
            let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
            guard SystemFile.flushDirectory(directory) else {
                let code = errno
                close(descriptor)
                throw .failed(code: code)
            }
        }
        var last: UInt8 = 0
        isTorn =
            status.st_size > 0
            && (pread(descriptor, &last, 1, status.st_size - 1) != 1 || last != UInt8(ascii: "\n"))
        self.descriptor = descriptor
        self.flush = flush
    }

    deinit { close(descriptor) }

    /// Appends whole lines and puts them on stable storage.
    /// - Throws: `AuditError.failed`; some of the lines may be there then.
    mutating func append(_ lines: [UInt8]) throws(AuditError) {
        let bytes = isTorn ? [UInt8(ascii: "\n")] + lines : lines
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let code = count < 0 ? errno : EIO
                if written > 0 { isTorn = bytes[written - 1] != UInt8(ascii: "\n") }
                throw .failed(code: code)
            }
            written += count
        }
        isTorn = false
        guard flush(descriptor) == 0 else { throw .failed(code: errno) }
    }

    /// The line of an entry.
    static func line(_ time: Timestamp, _ members: String) -> [UInt8] {
        Array("{\"time\":\"\(text(of: time))\",\(members)}\n".utf8)
    }

    /// RFC 3339, to the millisecond, such as `2026-01-02T03:04:05.006Z`.
    static func text(of time: Timestamp) -> String {
        var seconds = time_t(time.milliseconds / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: some BinaryInteger, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = [digits(Int(parts.tm_year) + 1_900, 4), digits(parts.tm_mon + 1, 2), digits(parts.tm_mday, 2)]
        let clock = [digits(parts.tm_hour, 2), digits(parts.tm_min, 2), digits(parts.tm_sec, 2)]
        return date.joined(separator: "-") + "T" + clock.joined(separator: ":")
            + ".\(digits(time.milliseconds % 1_000, 3))Z"
    }
}
