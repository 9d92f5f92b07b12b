// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import Testing

private let files: [Setting: [String]] = [.tlsCertificate: ["a.pem"], .tlsKey: ["a.key"]]

/// The names of the settings that are refused.
private func refused(_ flags: [Setting: [String]]) async -> [String] {
    do {
        _ = try await serveSettings(flags: flags)
        return []
    } catch {
        return (error as? SettingErrors)?.errors.map(\.name) ?? ["\(error)"]
    }
}

@Suite struct `Settings of TLS` {
    @Test func `without them the port speaks plain HTTP`() async throws {
        #expect(try await serveSettings().tls == nil)
        #expect(try await serveSettings(flags: [.tlsClient: ["none"]]).tls == nil)
    }

    @Test func `certificate and key come together`() async throws {
        let tls = try #require(try await serveSettings(flags: files).tls)
        #expect(tls.certificate == "a.pem" && tls.key == "a.key" && tls.clientCA == nil && tls.clients == .none)
        #expect(await refused([.tlsCertificate: ["a.pem"]]) == ["tls.certificate"])
        #expect(await refused([.tlsKey: ["a.key"]]) == ["tls.key"])
    }

    @Test(arguments: [
        (nil, TLSSettings.Clients.optional), ("none", .none), ("optional", .optional), ("required", .required),
    ])
    func `with an authority clients may show a certificate unless more is said`(
        word: String?, clients: TLSSettings.Clients
    ) async throws {
        var flags = files
        flags[.tlsClientCA] = ["ca.pem"]
        if let word { flags[.tlsClient] = [word] }
        let tls = try #require(try await serveSettings(flags: flags).tls)
        #expect(tls.clientCA == "ca.pem" && tls.clients == clients)
    }

    @Test(arguments: ["optional", "required"])
    func `nobody's certificate can be verified without an authority`(word: String) async {
        #expect(await refused(files.merging([.tlsClient: [word]]) { $1 }) == ["tls.client"])
        #expect(await refused([.tlsClient: [word]]) == ["tls.client"])
        #expect(await refused([.tlsClientCA: ["ca.pem"]]) == ["tls.client-ca"])
        #expect(await refused(files.merging([.tlsClient: ["maybe"]]) { $1 }) == ["tls.client"])
    }

    @Test func `an address off loopback needs TLS or leave by name`() async {
        #expect(await refused([.listen: ["0.0.0.0:1"]]) == ["server.listen"])
        #expect(await refused(files.merging([.listen: ["0.0.0.0:1"]]) { $1 }) == [])
        #expect(await refused([.listen: ["0.0.0.0:1"], .allowInsecureListen: ["true"]]) == [])
    }
}

@Suite struct `Settings of TLS towards a server` {
    private func settings(_ flags: [String: [String]]) async throws -> ClientTLSSettings {
        try await ClientSettings(flags: flags, environment: [:]).tls
    }

    @Test func `are none unless given`() async throws {
        #expect(try await settings([:]) == ClientTLSSettings(authorities: nil, certificate: nil, key: nil))
    }

    @Test func `name authorities, and a certificate with its key`() async throws {
        let given = try await settings([
            "client.tls-ca": ["ca.pem"], "client.tls-certificate": ["a.pem"], "client.tls-key": ["a.key"],
        ])
        #expect(given == ClientTLSSettings(authorities: "ca.pem", certificate: "a.pem", key: "a.key"))
    }

    @Test(arguments: ["client.tls-certificate", "client.tls-key"])
    func `a certificate and its key come together`(key: String) async {
        let error = await #expect(throws: SettingErrors.self) { try await settings([key: ["file"]]) }
        #expect(error?.errors.map(\.name) == [key])
    }
}
