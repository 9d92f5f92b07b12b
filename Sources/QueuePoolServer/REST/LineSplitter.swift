// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

// Bounded and linear by construction: what has no line feed yet is looked at once, and of a line that is too long nothing
// is kept. The longest text that stays here is one line of the limit and the piece that was appended last.

/// Cuts a stream of bytes into lines.
struct LineSplitter {
    /// Bytes that belong to lines not given back yet.
    private var rest = ByteBuffer()
    /// Bytes at the beginning of `rest` that are known to hold no line feed.
    private var scanned = 0
    private let lineBytesMax: Int
    /// Bytes of a line that is too long are dropped up to its end.
    private var isDropping = false
    private var endedLines = 0
    /// Bytes that were searched for a line feed so far.
    private(set) var bytesLookedAt = 0

    /// One line, or word of one that was too long.
    struct Line: Equatable {
        enum Content: Equatable {
            case text(ByteBuffer)
            case tooLong
        }

        /// As an editor counts: from 1, blank lines too.
        var number: Int
        var content: Content
    }

    /// - Parameter lineBytesMax: bytes of a line, its line feed not counted; a carriage return before it is allowed on top.
    init(lineBytesMax: Int) { self.lineBytesMax = lineBytesMax }

    /// The number of the line that has not ended yet.
    var nextNumber: Int { endedLines + 1 }
    /// Bytes that wait for the end of their line.
    var bytesKept: Int { rest.readableBytes }

    mutating func append(_ bytes: ByteBuffer) {
        var bytes = bytes
        if rest.readableBytes == 0 { rest = bytes } else { rest.writeBuffer(&bytes) }
    }

    /// The next whole line without its end; blank lines are passed over.
    mutating func next() -> Line? {
        while let length = lengthOfLine(), let line = rest.readSlice(length: length) {
            rest.moveReaderIndex(forwardBy: 1)
            endedLines += 1
            if let found = content(line) { return Line(number: endedLines, content: found) }
        }
        keepUnfinished()
        return nil
    }

    /// The last line, if the stream does not end with a line feed; `nil` when it was given.
    mutating func last() -> Line? {
        let line = rest
        rest = ByteBuffer()
        scanned = 0
        return content(line).map { Line(number: endedLines + 1, content: $0) }
    }

    /// Bytes before the next line feed; `nil` if none has come.
    private mutating func lengthOfLine() -> Int? {
        let start = scanned
        let found = rest.withUnsafeReadableBytes { bytes -> Int? in
            guard start < bytes.count, let base = bytes.baseAddress else { return nil }
            return memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start).map {
                UnsafeRawPointer($0) - base
            }
        }
        bytesLookedAt += (found.map { $0 + 1 } ?? rest.readableBytes) - start
        scanned = found == nil ? rest.readableBytes : 0
        return found
    }

    private mutating func keepUnfinished() {
        // Its carriage return may be here already, and the line feed not.
        if isDropping || rest.readableBytes > lineBytesMax + 1 {
            isDropping = true
            rest = ByteBuffer()
            scanned = 0
        } else {
            // What was read is given back; the unfinished line is all that stays.
            rest.discardReadBytes()
        }
    }

    /// What an ended line holds; `nil` if that is nothing.
    private mutating func content(_ line: ByteBuffer) -> Line.Content? {
        if isDropping {
            isDropping = false
            return .tooLong
        }
        let (bytes, blanks) = line.withUnsafeReadableBytes { bytes in
            let end = bytes.lastIndex { $0 != 13 && $0 != 32 && $0 != 9 }.map { $0 + 1 } ?? 0
            return (bytes.last == 13 ? bytes.count - 1 : bytes.count, bytes.count - end)
        }
        if bytes > lineBytesMax { return .tooLong }
        var line = line
        line.moveWriterIndex(to: line.writerIndex - blanks)
        return line.readableBytes == 0 ? nil : .text(line)
    }
}
