// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The first byte is the limit, the second the size of pieces: lines must not depend on the pieces, and each byte is
/// looked at once.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    guard count > 2 else { return 0 }
    let stream = bytes[2...]
    let whole = lines(stream, piece: stream.count, limit: Int(bytes[0]))
    precondition(lines(stream, piece: Int(bytes[1]) + 1, limit: Int(bytes[0])) == whole, "the pieces change the lines")
    return 0
}

private func lines(_ stream: Slice<UnsafeRawBufferPointer>, piece: Int, limit: Int) -> [LineSplitter.Line] {
    var splitter = LineSplitter(lineBytesMax: limit)
    var found: [LineSplitter.Line] = []
    var rest = stream
    while !rest.isEmpty {
        splitter.append(ByteBuffer(bytes: rest.prefix(piece)))
        while let line = splitter.next() { found.append(line) }
        precondition(splitter.bytesKept <= limit + 1, "keeps more than a line")
        rest = rest.dropFirst(piece)
    }
    if let line = splitter.last() { found.append(line) }
    precondition(splitter.last() == nil, "the last line comes twice")
    precondition(splitter.bytesLookedAt <= stream.count, "looks at bytes again")
    for line in found {
        if case .text(let text) = line.content { precondition((1...limit).contains(text.readableBytes)) }
    }
    return found
}
