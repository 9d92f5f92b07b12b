// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Cuts a stream of bytes into lines.
struct LineSplitter {
    private var rest = ByteBuffer()
    private let lineBytesMax: Int
    /// Bytes of a line that is too long are dropped up to its end.
    private var isDropping = false

    /// One line, or word of one that was too long.
    enum Line {
        case text(ByteBuffer)
        case tooLong
    }

    init(lineBytesMax: Int) { self.lineBytesMax = lineBytesMax }

    mutating func append(_ bytes: ByteBuffer) {
        var bytes = bytes
        if rest.readableBytes == 0 { rest = bytes } else { rest.writeBuffer(&bytes) }
    }

    /// The next whole line without its end; empty lines are passed over.
    mutating func next() -> Line? {
        while true {
            guard let length = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")).map({ $0 - rest.readerIndex })
            else { return unfinished() }
            guard let line = rest.readSlice(length: length) else { return nil }
            rest.moveReaderIndex(forwardBy: 1)
            if isDropping {
                isDropping = false
                return .tooLong
            }
            if length > lineBytesMax { return .tooLong }
            if let text = LineSplitter.trimmed(line) { return .text(text) }
        }
    }

    /// The last line, if the stream does not end with a line feed.
    mutating func last() -> Line? {
        if isDropping { return .tooLong }
        defer { rest = ByteBuffer() }
        return LineSplitter.trimmed(rest).map { .text($0) }
    }

    private mutating func unfinished() -> Line? {
        if rest.readableBytes > lineBytesMax {
            rest = ByteBuffer()
            isDropping = true
        } else {
            // What was read is given back; the unfinished line is all that stays.
            rest.discardReadBytes()
        }
        return nil
    }

    private static func trimmed(_ line: ByteBuffer) -> ByteBuffer? {
        var line = line
        while let last = line.readableBytesView.last, last == 13 || last == 32 || last == 9 {
            line.moveWriterIndex(to: line.writerIndex - 1)
        }
        return line.readableBytes == 0 ? nil : line
    }
}
