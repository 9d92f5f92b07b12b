// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolSettings

/// An error as the server describes it (RFC 9457), as far as people are told of it.
struct Problem: Decodable, Hashable, Sendable {
    var type: String?
    var title: String?
    var status: Int?
    var detail: String?
    var field: String?

    /// One line without control characters.
    var summary: String {
        var parts = [title ?? "error"]
        if let status { parts[0] += " (\(status))" }
        if let detail { parts.append(detail) }
        if let field { parts.append("field '\(field)'") }
        return SettingError.printable(parts.joined(separator: ": "), scalarsMax: 400)
    }

    /// The problem in an answer's body, or one made of its status.
    init(of answer: ClientAnswer) {
        if let problem = try? JSONDecoder().decode(Problem.self, from: Data(answer.body)) {
            self = problem
            status = problem.status ?? answer.status
        } else {
            self.init(title: "the server answered", status: answer.status)
        }
    }

    init(title: String?, status: Int?, detail: String? = nil, field: String? = nil) {
        self.title = title
        self.status = status
        self.detail = detail
        self.field = field
    }
}
