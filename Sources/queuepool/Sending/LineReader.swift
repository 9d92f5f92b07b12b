// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import Glibc

/// Reads a file or standard input line by line in constant memory, and knows how many bytes it has read and their hash.
struct LineReader: ~Copyable {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var start = 0
    private var atEnd = false
    private var hash = SHA256()
    private(set) var lineNumber = 0
    /// Bytes of the lines given out so far.
    private(set) var bytesRead = 0

    /// A line, its line feed left out; `nil` content: longer than allowed and skipped.
    struct Line {
        let number: Int
        let content: [UInt8]?
    }

    init(descriptor: Int32) { self.descriptor = descriptor }

    /// What has been read so far, as the state remembers it.
    var mark: SendState.Mark { SendState.Mark(bytes: bytesRead, sha256: hexadecimal(hash.finalize())) }

    /// The next line, blank ones included; `nil` at the end.
    /// - Throws: `CommandFailure` when the input cannot be read, `CancellationError` while it has nothing to give.
    mutating func next() async throws -> Line? {
        var content: [UInt8]? = []
        var sawBytes = false
        while true {
            if start == buffer.count {
                if !atEnd { try await fill() }
                if atEnd {
                    guard sawBytes else { return nil }
                    break
                }
            }
            sawBytes = true
            let rest = buffer[start...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n"))
            let piece = rest[..<(end ?? rest.endIndex)]
            if let held = content {
                content = held.count + piece.count > OutgoingLine.bytesMax ? nil : held + piece
            }
            take(through: end.map { $0 + 1 } ?? rest.endIndex)
            if end != nil { break }
        }
        lineNumber += 1
        return Line(number: lineNumber, content: content)
    }

    private mutating func take(through end: Int) {
        hash.update(data: buffer[start..<end])
        bytesRead += end - start
        start = end
    }

    /// A terminal or pipe is waited for without holding a thread, so that Ctrl-C is heard.
    private mutating func fill() async throws {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // In real time, as whoever types has no other.
        while poll(&state, 1, 0) == 0 { try await Task.sleep(for: .milliseconds(20)) }
        let room = 262_144
        var count = 0
        var code: Int32 = 0
        let fresh = [UInt8](unsafeUninitializedCapacity: room) { bytes, initialized in
            repeat {
                count = Glibc.read(descriptor, bytes.baseAddress, room)
                code = errno
            } while count < 0 && code == EINTR
            initialized = max(0, count)
        }
        if count < 0 {
            throw CommandFailure("the input cannot be read: \(systemMessage(code))", status: ExitStatus.inputOutput)
        }
        buffer = fresh
        start = 0
        atEnd = count == 0
    }
}

/// SHA-256 of a file's first so many bytes, in hexadecimal. The file is left at its beginning.
func digestOfPrefix(descriptor: Int32, bytes: Int) throws(CommandFailure) -> String {
    var hash = SHA256()
    var offset = 0
    var chunk = [UInt8](repeating: 0, count: 1_048_576)
    while offset < bytes {
        let count = pread(descriptor, &chunk, min(chunk.count, bytes - offset), offset)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
            throw CommandFailure("the input cannot be read: \(systemMessage(errno))", status: ExitStatus.inputOutput)
        }
        hash.update(data: chunk[..<count])
        offset += count
    }
    return hexadecimal(hash.finalize())
}
