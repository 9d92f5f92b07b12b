// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension ControlSettings {
    /// Reads and checks the settings of commands that go to the control store of a data directory, or to one that is named.
    /// A flag `--data-dir` wins over a control store that a variable names.
    /// - Returns: `directory` is the data directory if the control store is in it, and `nil` if another one is named;
    ///   `auditLog` is where a server with this control store writes what is done to keys, as far as that is known: a file
    ///   that has the control store's name is taken for that of a data directory.
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
        let place = isNamed ? control?.address.directory : directory
        let auditLog = reader.auditLog(in: place ?? directory, requiresKeys: place != nil)
        try reader.finish()
        guard let control else { throw SettingErrors([]) }
        return (control, isNamed ? nil : directory, auditLog)
    }
}

extension ControlAddress {
    /// The data directory whose control store it is, without a slash at its end; `nil` if nothing says that it is in one.
    fileprivate var directory: String? {
        guard case .sqlite(let file) = self else { return nil }
        guard let slash = file.lastIndex(of: "/") else { return file == ControlAddress.fileName ? "." : nil }
        return file[file.index(after: slash)...] == ControlAddress.fileName ? String(file[..<slash]) : nil
    }
}
