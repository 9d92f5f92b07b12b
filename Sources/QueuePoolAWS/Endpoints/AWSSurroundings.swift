// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCurl

/// What the surroundings say about AWS: variables, files, network and clock, so that tests bring their own.
package struct AWSSurroundings: Sendable {
    package typealias Perform = @Sendable (HTTPRequest) async throws(CurlError) -> HTTPResponse

    package var variable: @Sendable (String) -> String?
    /// A file's text; `nil` if there is none or it cannot be read.
    package var file: @Sendable (String) -> String?
    package var perform: Perform
    package var clock: ServiceClock

    package init(
        variable: @escaping @Sendable (String) -> String?, file: @escaping @Sendable (String) -> String?,
        perform: @escaping Perform, clock: ServiceClock
    ) {
        self.variable = variable
        self.file = file
        self.perform = perform
        self.clock = clock
    }

    /// A variable that is set and not empty.
    package func text(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }

    package var profileName: String { text("AWS_PROFILE") ?? text("AWS_DEFAULT_PROFILE") ?? "default" }

    package func profiles() -> ProfileFile {
        func path(_ name: String, _ file: String) -> String? {
            let path = text(name) ?? "~/.aws/\(file)"
            guard path.hasPrefix("~/") else { return path }
            return text("HOME").map { $0 + path.dropFirst() }
        }
        return ProfileFile(
            config: path("AWS_CONFIG_FILE", "config").flatMap(file),
            credentials: path("AWS_SHARED_CREDENTIALS_FILE", "credentials").flatMap(file))
    }
}
