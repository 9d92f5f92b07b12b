// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension DeliveryURL {
    /// The name of a target, or of a server, for logs and metrics: scheme, host and port, e.g. `smtp://mail.example.com:587`. User, password,
    /// path and query are left out, as is the command of `exec:`: each of them may be a secret.
    package static func label(_ text: String) -> String {
        guard let colon = text.firstIndex(of: ":") else { return "unknown" }
        let scheme = text[..<colon].lowercased()
        let rest = text[text.index(after: colon)...]
        guard rest.hasPrefix("//") else { return scheme + ":" }
        let place = rest.dropFirst(2)
        // A mail server's password may have any of these; what follows its last @ has none.
        let isMail = scheme == "smtp" || scheme == "smtps"
        let query = isMail ? place.firstIndex(of: "?") ?? place.endIndex : place.endIndex
        let user = isMail ? place[..<query].lastIndex(of: "@") ?? place.startIndex : place.startIndex
        let authority = place[user...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let host = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
        return "\(scheme)://\(host)"
    }
}
