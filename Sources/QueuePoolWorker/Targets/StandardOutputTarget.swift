// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

/// One line of JSON for each message on standard output. The body is shown because it was asked for.
struct StandardOutputTarget: DeliveryTarget {
    var kind: String { "stdout" }

    private static let lines = LineWriter(label: "queuepool.stdout")

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
        return await StandardOutputTarget.lines.write(json.take())
    }
}
