// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Names of the message attributes that a worker writes on a message that it gives up.
package enum WorkerAttributes {
    /// What all of them begin with.
    package static let prefix = "queuepool."
    /// The pool that the message came from, to which a redrive takes it back.
    package static let pool = prefix + "pool"
    /// Why it was given up: `attempts` or `refused`.
    package static let reason = prefix + "reason"
    package static let errorClass = prefix + "error-class"
    package static let attempts = prefix + "attempts"
    /// RFC 3339, in UTC.
    package static let failedAt = prefix + "failed-at"
}
