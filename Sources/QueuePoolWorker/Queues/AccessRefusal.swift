// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import QueuePoolJSON

/// Why a server does not let somebody in. It says the same until somebody changes a key or its rights.
package enum AccessRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// It does not know who asks.
    case unknownCaller
    /// It knows, and he may not do this.
    case noRight(String)

    package var description: String {
        switch self {
        case .unknownCaller:
            "it does not know who asks: --token-file FILE or QUEUEPOOL_TOKEN has the token of a key that it knows"
        case .noRight(let why): why
        }
    }
}

extension HTTPResponse {
    private static let textBytesMax = 300
    /// How the type ends of what says that a right is missing.
    private static let denials = [":access-denied", "AccessDeniedException", "AccessDenied"]

    /// What a door of REST, or of SQS in JSON, says of who sent a request; `nil` if it says nothing of that kind.
    var accessRefusal: AccessRefusal? {
        if status == 401 { return .unknownCaller }
        guard status == 403 else { return nil }
        let problem = body.withUnsafeBytes { bytes -> (type: String, detail: String)? in
            var json = JSONReader(bytes)
            do throws(JSONFault) { return try HTTPResponse.problem(&json) } catch { return nil }
        }
        guard let problem, HTTPResponse.denials.contains(where: problem.type.hasSuffix) else { return nil }
        // Ids and names only, and in one line whoever answers.
        let printable = problem.detail.unicodeScalars.prefix(HTTPResponse.textBytesMax).map {
            (32...126).contains($0.value) ? String($0) : "?"
        }
        return .noRight(printable.joined())
    }

    private static func problem(_ json: inout JSONReader) throws(JSONFault) -> (type: String, detail: String) {
        var problem = (type: "", detail: "")
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("type") || key.equals("__type") {
                problem.type = try json.readString().text
            } else if key.equals("detail") || key.equals("message") {
                problem.detail = try json.readString().text
            } else {
                try json.skipValue()
            }
        }
        return problem
    }
}
