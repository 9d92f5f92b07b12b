// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension Setting {
    package static let adminListen = Setting(
        "server.admin-listen", flag: "admin-listen", .text,
        allowed: "HOST:PORT or [IPV6]:PORT, port 0...65535 (0 takes a free one), another than server.listen's",
        text: "A second address for operators, with connections, bytes and a thread of its own: it answers everything "
            + "that the first does, also while that one is full. TLS and keys are asked for as there.")
}

extension SettingsReader {
    /// - Parameter listen: the first address, which the second one cannot be.
    /// - Returns: `nil` without one, or after a refusal.
    mutating func adminAddress(beside listen: ListenAddress?, hasTLS: Bool, isOpenAllowed: Bool) -> ListenAddress? {
        guard let found = text(.adminListen) else { return nil }
        guard let address = ListenAddress(found.value) else {
            refuse(found.value, of: .adminListen, from: found.source, "is not an address")
            return nil
        }
        guard address.port == 0 || address != listen else {
            refuse(found.value, of: .adminListen, from: found.source, "is the address of server.listen")
            return nil
        }
        refuseOpenAddress(
            address, of: .adminListen, from: found.source, hasTLS: hasTLS, isOpenAllowed: isOpenAllowed)
        return address
    }
}
