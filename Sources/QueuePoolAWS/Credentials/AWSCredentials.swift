// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// Who signs. Shows itself as nothing but "AWSCredentials", also to `dump` and the debugger.
package struct AWSCredentials: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    package let accessKeyID: String
    package let secretAccessKey: String
    package let sessionToken: String?
    /// `nil`: they do not expire.
    package let expiresAt: Timestamp?

    package init(
        accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, expiresAt: Timestamp? = nil
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expiresAt = expiresAt
    }

    package var description: String { "AWSCredentials" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why a source that is set up gave no credentials: its name and what is wrong with it, never a value.
package struct CredentialError: Error, Hashable, Sendable {
    package let source: String
    package let reason: String

    package init(source: String, reason: String) {
        self.source = source
        self.reason = reason
    }

    package var aws: AWSError { .credentials(reason: "\(source): \(reason)") }
}

/// One place where credentials may be.
package protocol CredentialSource: Sendable {
    /// - Returns: `nil` if this source is not set up here, so that the next one is asked.
    /// - Throws: if it is set up and wrong, or did not answer; no other source is asked then.
    func load() async throws(CredentialError) -> AWSCredentials?
}
