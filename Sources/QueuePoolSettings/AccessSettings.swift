// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension Setting {
    package static let requireKeys = Setting(
        "access.require-keys", flag: "require-keys", .flag, allowed: "true, false",
        text:
            "Take requests only from callers who show a key of 'queuepool key', and only what its rights allow. Unless "
            + "set, true off loopback, and false on it or with server.allow-insecure-listen.")
}

extension SettingsReader {
    /// Whether callers must show a key.
    /// - Parameters:
    ///   - addresses: where the server listens; one of them off loopback is enough to ask everywhere.
    ///   - isOpenAllowed: whether it is said by name that whoever reaches the server may do everything.
    mutating func requiresKeys(at addresses: [ListenAddress?], isOpenAllowed: Bool) -> Bool {
        let isSaid = flag(.requireKeys)
        guard !isOpenAllowed, let address = addresses.lazy.compactMap(\.self).first(where: { !$0.isLoopback })
        else { return isSaid ?? false }
        if isSaid == false {
            refuse(
                SettingError(
                    name: Setting.requireKeys.key, source: peek(.requireKeys)?.source,
                    description: "setting 'access.require-keys': 'false' with the address '\(address)', which is off "
                        + "loopback: whoever reaches it may send, receive and purge; allowed: true, a loopback address, "
                        + "or --allow-insecure-listen"))
        }
        return true
    }
}
