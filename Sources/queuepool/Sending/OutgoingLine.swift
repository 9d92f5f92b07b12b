// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation

/// One line of input on its way.
struct OutgoingLine: Hashable, Sendable {
    /// Number in the input, from 1, blank lines counted.
    let number: Int
    /// The JSON object as it is sent, without a line feed.
    let bytes: [UInt8]

    /// Bytes of a line that are read at most; a longer one is refused without being sent. A message of 1 MiB takes up
    /// to six times as much when JSON escapes all of it.
    static let bytesMax = 8_388_608

    /// A line that names no deduplication id gets one made of the run, its number and its content: a repetition after
    /// an answer that never came is then known to the server as the same message.
    init(number: Int, content: [UInt8], runID: String) {
        self.number = number
        guard OutgoingLine.lacksDeduplicationID(content), let brace = content.firstIndex(of: UInt8(ascii: "{")) else {
            bytes = content
            return
        }
        let isEmpty = content[(brace + 1)...].first { !OutgoingLine.isBlank($0) } == UInt8(ascii: "}")
        let id = OutgoingLine.deduplicationID(runID: runID, number: number, content: content)
        let member = #""deduplicationId":""# + id + (isEmpty ? "\"" : "\",")
        bytes = Array(content[...brace]) + member.utf8 + content[(brace + 1)...]
    }

    /// 40 hexadecimal digits: SHA-256 of run, number and content, cut to 160 bits.
    static func deduplicationID(runID: String, number: Int, content: [UInt8]) -> String {
        var hash = SHA256()
        hash.update(data: Data("\(runID)\n\(number)\n".utf8))
        hash.update(data: content)
        return hexadecimal(hash.finalize().prefix(20))
    }

    /// Whether the line is a JSON object without the member. Anything else is sent as it is, for the server to refuse.
    private static func lacksDeduplicationID(_ content: [UInt8]) -> Bool {
        guard let object = try? JSONSerialization.jsonObject(with: Data(content)) as? [String: Any] else {
            return false
        }
        return object["deduplicationId"] == nil
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
