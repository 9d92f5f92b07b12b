// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolJSON

extension TrackingRecord {
    /// Writes what has the same form for whoever asks and for whoever tells: all but the id, the state and the times. It
    /// goes into an object that is open.
    package func writeDetails(to json: inout JSONWriter) {
        if let attempt {
            json.key("attempt")
            json.int(attempt)
        }
        for (key, text) in [
            ("target", target), ("reason", reason), ("errorClass", errorClass),
        ] as [(StaticString, String?)] {
            guard let text else { continue }
            json.key(key)
            json.string(text)
        }
        if let recipients {
            json.key("undelivered")
            json.beginArray()
            for place in recipients { json.int(place) }
            json.endArray()
        }
        if let tags {
            json.key("tags")
            json.raw(Array(tags.utf8))
        }
    }
}
