// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The files that the door's TLS is made of.
package struct TLSSettings: Hashable, Sendable {
    /// What is asked of clients.
    package enum Clients: String, Hashable, Sendable {
        /// Nobody asks them for a certificate.
        case none
        /// A certificate is verified if there is one.
        case optional
        /// Without a verified certificate there is no connection.
        case required
    }

    /// Path of the server's certificate with its chain.
    package var certificate: String
    /// Path of the key that belongs to it.
    package var key: String
    /// Path of the certificates that clients' own are verified by; `nil`: clients are asked for none.
    package var clientCA: String?
    package var clients: Clients
    /// Whether the name in a client's certificate says which key it is.
    package var namesCallers = false
}

/// What commands that talk to a server by https trust, and what they show of themselves. Paths of PEM files.
package struct ClientTLSSettings: Hashable, Sendable {
    /// The authorities that the server's certificate is verified by; `nil`: the system's.
    package var authorities: String?
    /// The client's own certificate, with its key.
    package var certificate: String?
    /// The key that belongs to it.
    package var key: String?

    package init(authorities: String? = nil, certificate: String? = nil, key: String? = nil) {
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
    }
}

extension Setting {
    package static let clientTLSCA = Setting(
        "client.tls-ca", flag: "tls-ca", .text, allowed: "path of a PEM file", commands: [.work, .send, .pool],
        text: "The authorities that the certificate of the server at endpoint is verified by; unless set those of "
            + "SSL_CERT_FILE or of the system.")
    package static let clientTLSCertificate = Setting(
        "client.tls-certificate", flag: "tls-certificate", .text,
        allowed: "path of a PEM file, given with client.tls-key",
        commands: [.work, .send, .pool],
        text: "The client's own certificate, for a server that asks for one.")
    package static let clientTLSKey = Setting(
        "client.tls-key", flag: "tls-key", .text, allowed: "path of a PEM file, given with client.tls-certificate",
        commands: [.work, .send, .pool], text: "The private key of the client's own certificate, without a passphrase.")
    package static let tlsCertificate = Setting(
        "tls.certificate", flag: "tls-certificate", .text, allowed: "path of a PEM file, given with tls.key",
        text: "The server's certificate, and behind it those between it and its authority: with it the port speaks TLS "
            + "1.2 and 1.3 only. SIGHUP reads the files again.")
    package static let tlsKey = Setting(
        "tls.key", flag: "tls-key", .text, allowed: "path of a PEM file, given with tls.certificate",
        text: "The certificate's private key, without a passphrase.")
    package static let tlsClientCA = Setting(
        "tls.client-ca", flag: "tls-client-ca", .text, allowed: "path of a PEM file, given with tls.certificate",
        text: "The authorities that clients' certificates are verified by.")
    package static let tlsClient = Setting(
        "tls.client", flag: "tls-client", .choice(["none", "optional", "required"]),
        allowed: "none, optional, required; the last two need tls.client-ca",
        text: "Whether clients are asked for a certificate, and refused without one. Unless set, optional with "
            + "tls.client-ca, and none without.")
}

extension Setting {
    package static let tlsClientNames = Setting(
        "tls.client-names", flag: "tls-client-names", .flag, fallback: "false",
        allowed: "true, false; true needs tls.client-ca, and callers who must show a key",
        text: "Who shows a verified certificate with a key's name, and neither a token nor a signature, has that key's "
            + "rights: the first mail address, DNS name or URI of the certificate, or else its common name.")
}

extension SettingsReader {
    /// - Returns: `nil` after a refusal.
    mutating func clientTLSSettings() -> ClientTLSSettings? {
        let certificate = text(.clientTLSCertificate)
        let key = text(.clientTLSKey)
        if let certificate, key == nil { refuse(.clientTLSCertificate, certificate.source, needs: .clientTLSKey) }
        if let key, certificate == nil { refuse(.clientTLSKey, key.source, needs: .clientTLSCertificate) }
        let authorities = text(.clientTLSCA)
        guard (certificate == nil) == (key == nil) else { return nil }
        return ClientTLSSettings(
            authorities: authorities?.value, certificate: certificate?.value, key: key?.value)
    }

    /// - Returns: `nil` without TLS, or after a refusal.
    mutating func tlsSettings() -> TLSSettings? {
        let certificate = text(.tlsCertificate)
        let key = text(.tlsKey)
        let authority = text(.tlsClientCA)
        let clients = choice(.tlsClient).flatMap(TLSSettings.Clients.init)
        guard let certificate, let key else {
            // No value is shown: one that is misplaced may be anything.
            if let certificate { refuse(.tlsCertificate, certificate.source, needs: .tlsKey) }
            if let key { refuse(.tlsKey, key.source, needs: .tlsCertificate) }
            if let authority { refuse(.tlsClientCA, authority.source, needs: .tlsCertificate) }
            if let clients, clients != .none { refuse(.tlsClient, peek(.tlsClient)?.source, needs: .tlsCertificate) }
            return nil
        }
        if authority == nil, let clients, clients != .none {
            refuse(.tlsClient, peek(.tlsClient)?.source, needs: .tlsClientCA)
        }
        var settings = TLSSettings(
            certificate: certificate.value, key: key.value, clientCA: authority?.value,
            clients: clients ?? (authority == nil ? .none : .optional))
        settings.namesCallers = flag(.tlsClientNames) ?? false
        return settings
    }

    /// Refuses names of clients that nobody verifies, or asks for.
    mutating func refuseUnusedNames(_ tls: TLSSettings?, requiresKeys: Bool) {
        guard flag(.tlsClientNames) == true else { return }
        let source = peek(.tlsClientNames)?.source
        switch tls {
        case nil: refuse(.tlsClientNames, source, needs: .tlsCertificate)
        case .some(let tls) where tls.clients == .none: refuse(.tlsClientNames, source, needs: .tlsClientCA)
        case .some: if !requiresKeys { refuse(.tlsClientNames, source, needs: .requireKeys) }
        }
    }

    private mutating func refuse(_ setting: Setting, _ source: SettingSource?, needs other: Setting) {
        refuse(
            SettingError(
                name: setting.key, source: source,
                description: "setting '\(setting.key)' needs '\(other.key)' (--\(other.flag)), which is missing; "
                    + "allowed: \(setting.allowed)"))
    }

    /// Refuses an address that others than this machine reach, unless nobody in between can read and change what goes
    /// over it, or whoever starts the server says by name that this is meant.
    /// - Parameters:
    ///   - setting: that gave the address.
    ///   - isOpenAllowed: whether that is said.
    mutating func refuseOpenAddress(
        _ address: ListenAddress, of setting: Setting = .listen, from source: SettingSource?, hasTLS: Bool,
        isOpenAllowed: Bool
    ) {
        guard !address.isLoopback, !hasTLS, !isOpenAllowed else { return }
        refuse(
            SettingError(
                name: setting.key, source: source,
                description: "setting '\(setting.key)': '\(address)' is off loopback, and without TLS and "
                    + "credentials whoever reaches it may send, receive and purge; allowed: a loopback address, "
                    + "--tls-certificate with --tls-key, or --allow-insecure-listen"))
    }
}
