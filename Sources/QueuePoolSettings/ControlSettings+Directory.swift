// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension ControlSettings {
    /// Reads and checks the settings of commands that go to the control store of a data directory, or to one that is named.
    /// A flag `--data-dir` wins over a control store that a variable names.
    /// - Returns: `directory` is the data directory if the control store is in it, and `nil` if another one is named;
    ///   `auditLog` is where a server with this control store writes what is done to keys, as far as that is known.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package static func inDirectory(
        flags: [String: [String]], environment: [String: String]
    ) async throws -> (settings: ControlSettings, directory: String?, auditLog: String?) {
        var environment = environment
        if flags[Setting.dataDirectory.key] != nil { environment[Setting.control.environment] = nil }
        var reader = try await SettingsReader(flags: flags, environment: environment)
        let directory = reader.text(.dataDirectory)?.value ?? Setting.dataDirectory.fallback ?? "."
        let isNamed = reader.peek(.control) != nil
        let control = reader.controlSettings(in: directory)
        let auditLog = reader.auditLog(in: directory, requiresKeys: !isNamed)
        try reader.finish()
        guard let control else { throw SettingErrors([]) }
        return (control, isNamed ? nil : directory, auditLog)
    }
}
