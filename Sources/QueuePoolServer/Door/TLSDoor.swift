// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL
import Synchronization

/// What the server proves itself with, and what it asks of clients: the contents of PEM files.
package struct TLSMaterial: Hashable, Sendable {
    /// The server's certificate, and behind it those between it and its authority.
    package var certificate: [UInt8]
    /// The certificate's private key.
    package var key: [UInt8]
    /// The authorities of clients' certificates; `nil`: clients are asked for none.
    package var clientCA: [UInt8]?
    /// Whether a client without a certificate is refused.
    package var requiresClients: Bool

    package init(certificate: [UInt8], key: [UInt8], clientCA: [UInt8]? = nil, requiresClients: Bool = false) {
        self.certificate = certificate
        self.key = key
        self.clientCA = clientCA
        self.requiresClients = requiresClients
    }
}

/// Why material is of no use. Shows nothing of it.
package enum TLSFault: Error, Hashable, Sendable {
    case noCertificate
    case noKey
    /// The key needs a passphrase, and there is nobody to ask for it.
    case encryptedKey
    /// Certificate and key are each well-formed, and do not belong together or are of a kind that TLS does not know.
    case mismatch
    case noClientCA
}

/// Gives each connection its TLS. Its certificate may change at any time: connections that have begun keep the one that
/// they began with.
package final class TLSDoor: Sendable {
    private struct Current {
        let context: NIOSSLContext
        let endsAt: Int
    }

    private let current: Mutex<Current>

    package init(_ material: TLSMaterial) throws(TLSFault) {
        current = Mutex(try TLSDoor.read(material))
    }

    /// Gives the connections that come from now on this material. If it is of no use, nothing changes. Blocks for as long
    /// as it takes to parse it.
    package func replace(_ material: TLSMaterial) throws(TLSFault) {
        let new = try TLSDoor.read(material)
        current.withLock { $0 = new }
    }

    /// When the certificate, or one that stands between it and its authority, ends: seconds since 1970.
    package var endsAt: Int { current.withLock { $0.endsAt } }

    /// The handler that decrypts and encrypts for one new connection.
    func handler() -> NIOSSLServerHandler {
        var configuration = NIOSSLServerHandler.Configuration()
        // A connection that was once given a large answer must not keep as much memory for good.
        configuration.maximumPreservedOutboundBufferCapacity = 64 << 10
        return NIOSSLServerHandler(context: current.withLock { $0.context }, configuration: configuration)
    }

    private static func read(_ material: TLSMaterial) throws(TLSFault) -> Current {
        let chain = try certificates(material.certificate, or: .noCertificate)
        let key = try privateKey(material.key)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        // A client that is told goodbye and does not say so back is not waited for: most that are idle do not.
        configuration.shutdownTimeout = .seconds(1)
        if let clientCA = material.clientCA {
            configuration.trustRoots = .certificates(try certificates(clientCA, or: .noClientCA))
            configuration.sendCANameList = true
            configuration.certificateVerification =
                material.requiresClients ? .noHostnameVerification : .optionalVerification
        }
        do {
            return Current(
                context: try NIOSSLContext(configuration: configuration),
                endsAt: chain.map { Int($0.notValidAfter) }.min() ?? .max)
        } catch { throw .mismatch }
    }

    private static func certificates(_ pem: [UInt8], or fault: TLSFault) throws(TLSFault) -> [NIOSSLCertificate] {
        guard let found = try? NIOSSLCertificate.fromPEMBytes(pem), !found.isEmpty else { throw fault }
        return found
    }

    private static func privateKey(_ pem: [UInt8]) throws(TLSFault) -> NIOSSLPrivateKey {
        // Without an answer of ours, the library asks for a passphrase at the terminal.
        var isAsked = false
        let key = try? NIOSSLPrivateKey(bytes: pem, format: .pem) { (give: NIOSSLPassphraseSetter<[UInt8]>) in
            isAsked = true
            give([])
        }
        if isAsked { throw .encryptedKey }
        guard let key else { throw .noKey }
        return key
    }
}
