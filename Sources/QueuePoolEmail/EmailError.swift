// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why an email is not one: the field, what is wrong with it, what is allowed. Never its value (I6).
package struct EmailError: Error, Hashable, Sendable {
    /// E.g. `to[1]`, `headers.X-Campaign`, `attachments[0].content`.
    package let field: String
    package let detail: String

    package init(_ field: String, _ detail: String) {
        self.field = field
        self.detail = detail
    }
}
