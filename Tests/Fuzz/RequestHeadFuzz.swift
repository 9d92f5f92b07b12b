// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A head lies within its input, and no further byte changes what it is.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    switch RequestHead.parse(bytes, isHostAllowed: { !$0.isEmpty }) {
    case .incomplete: precondition(count <= RequestHead.bytesMax, "waits for more than a head may have")
    case .other: break
    case .plain(let head):
        precondition((4...count).contains(head.headBytes) && head.bodyBytes >= 0, "a head beyond its input")
        let alone = UnsafeRawBufferPointer(rebasing: bytes[0..<head.headBytes])
        guard case .plain(let again) = RequestHead.parse(alone, isHostAllowed: { !$0.isEmpty }), again == head else {
            preconditionFailure("the bytes after a head change it")
        }
    }
    return 0
}
