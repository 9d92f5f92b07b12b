// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolEmail

/// What is accepted is written in a form that reads the same, and renders in lines of ASCII that no header breaks.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    guard let request = try? EmailMessage.read(bytes) else { return 0 }
    let encoded = request.email.encoded()
    guard let again = try? encoded.withUnsafeBytes({ try EmailMessage.read($0) }) else {
        preconditionFailure("what was written is refused")
    }
    precondition(again.email == request.email && again.email.encoded() == encoded, "written and read it differs")
    checkLines(request.email.rendered(messageID: "id", date: "Thu, 01 Jan 2026 00:00:00 +0000"))
    return 0
}

/// ASCII in lines that end in CR LF and have at most 998 characters (RFC 5322, 2.1.1).
private func checkLines(_ mail: [UInt8]) {
    var start = 0
    for (place, byte) in mail.enumerated() {
        precondition(byte < 127 && (byte >= 32 || byte == 9 || byte == 10 || byte == 13), "not printable ASCII")
        if byte == 13 { precondition(place + 1 < mail.count && mail[place + 1] == 10, "a bare carriage return") }
        guard byte == 10 else { continue }
        precondition(place > 0 && mail[place - 1] == 13, "a bare line feed")
        precondition(place - 1 - start <= 998, "a line too long")
        start = place + 1
    }
}
