// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where topologies are kept, and how AWS is reached.
package struct ControlSettings: Hashable, Sendable {
    package var address: ControlAddress
    /// Base URL for all services of AWS, without a slash at its end; `nil`: as AWS's own tools find it.
    package var awsEndpoint: String?
    /// `nil`: as AWS's own tools find it.
    package var awsRegion: String?

    package init(address: ControlAddress, awsEndpoint: String? = nil, awsRegion: String? = nil) {
        self.address = address
        self.awsEndpoint = awsEndpoint
        self.awsRegion = awsRegion
    }

    /// Reads and checks the settings of commands that go to the control store themselves.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package init(flags: [String: [String]], environment: [String: String]) async throws {
        var reader = try await SettingsReader(flags: flags, environment: environment)
        let control = reader.controlSettings(in: "./queuepool-data")
        try reader.finish()
        guard let control else { throw SettingErrors([]) }
        self = control
    }
}

extension ControlAddress {
    /// The name of a data directory's control store.
    static let fileName = "control.sqlite"
}

extension SettingsReader {
    /// - Parameter directory: where the SQLite file is unless the setting says otherwise.
    package mutating func controlSettings(in directory: String) -> ControlSettings? {
        let endpoint = parsed(.awsEndpoint, or: "is not an http address") { text in
            isHTTPAddress(text) ? String(text.reversed().drop { $0 == "/" }.reversed()) : nil
        }
        let region = parsed(.awsRegion, or: "is not a region's name") { text in
            text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 } ? text : nil
        }
        var address = ControlAddress.sqlite(file: directory + "/" + ControlAddress.fileName)
        if let found = text(.control) {
            guard let given = ControlAddress(found.value) else {
                refuse(found.value, of: .control, from: found.source, "is not a control store")
                return nil
            }
            address = given
        }
        return ControlSettings(address: address, awsEndpoint: endpoint, awsRegion: region)
    }
}
