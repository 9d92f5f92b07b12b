// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import QueuePoolCore
import QueuePoolJSON

/// One line of JSON for each message on standard output. The body is shown because it was asked for.
struct StandardOutputTarget: DeliveryTarget {
    var kind: String { "stdout" }

    /// Lines of messages delivered side by side do not mix; a reader that is slow blocks this queue's thread alone.
    private static let output = DispatchQueue(label: "queuepool.stdout")

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        var json = JSONWriter(capacity: message.body.count + 256)
        json.beginObject()
        json.key("id")
        json.string(message.id)
        json.key("group")
        json.string(message.group)
        json.key("shard")
        json.string(message.shardName)
        json.key("attempt")
        json.int(attempt)
        json.key("attributes")
        json.beginObject()
        for attribute in message.attributes where !attribute.isBinary {
            json.key(text: attribute.name)
            json.string(attribute.value)
        }
        json.endObject()
        json.key("body")
        json.string(message.body)
        json.endObject()
        json.endLine()
        let line = json.take()
        return await withCheckedContinuation { continuation in
            StandardOutputTarget.output.async { continuation.resume(returning: StandardOutputTarget.write(line)) }
        }
    }

    /// - Parameter file: written to until the line is out; a reader that is slow is waited for.
    static func write(_ line: [UInt8], to file: Int32 = STDOUT_FILENO) -> DeliveryOutcome {
        var rest = line[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Somebody who shares the pipe or the terminal made it so.
                var room = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                poll(&room, 1, -1)
            // No reader will ever come back: no message is to blame, and none can be delivered.
            case EPIPE, EBADF: return .ended(errorClass: "stdout-closed")
            case let code: return .failed(errorClass: "stdout-\(code)")
            }
        }
        return .delivered
    }
}
