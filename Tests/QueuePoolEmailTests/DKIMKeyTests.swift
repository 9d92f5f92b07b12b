// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

@Suite struct `A key of DKIM` {
    @Test(arguments: [
        (DKIMTestKeys.rsa, DKIMKey.Algorithm.rsa), (DKIMTestKeys.rsaPKCS8, .rsa), (DKIMTestKeys.ed25519, .ed25519),
    ])
    func `is read from PEM`(pem: String, algorithm: DKIMKey.Algorithm) throws {
        #expect(try DKIMKey(pem: pem).algorithm == algorithm)
        let foreign = "Bag Attributes\n  name: x\n\n" + pem.split(separator: "\n").map { $0 + " \r\n" }.joined()
        #expect(try DKIMKey(pem: foreign).algorithm == algorithm)
        #expect(try DKIMKey(pem: DKIMTestKeys.ed25519Public + "\n" + pem).algorithm == algorithm)
    }

    @Test func `is the same in PKCS#1 and in PKCS#8`() throws {
        let bytes = Array("mail".utf8)
        let signatures = try [DKIMTestKeys.rsa, DKIMTestKeys.rsaPKCS8].map {
            try DKIMKey(pem: $0).signature(of: bytes)
        }
        #expect(signatures[0] == signatures[1] && signatures[0].count == 128)
    }

    @Test(arguments: [
        ("", DKIMError.noKey), ("no PEM", .noKey), ("-----BEGIN PRIVATE KEY-----", .damaged),
        ("-----BEGIN -----", .noKey),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", .damaged),
        ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END RSA PRIVATE KEY-----", .damaged),
        ("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----", .damaged),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", .damaged),
        ("-----BEGIN RSA PRIVATE KEY-----\nMC4C\n-----END RSA PRIVATE KEY-----", .damaged),
        (DKIMTestKeys.rsa768, .tooShort), (DKIMTestKeys.rsaEncrypted, .encrypted),
        (DKIMTestKeys.ed25519Encrypted, .encrypted), (DKIMTestKeys.ed25519Public, .notPrivate),
        (DKIMTestKeys.x25519, .otherAlgorithm), (DKIMTestKeys.elliptic, .otherAlgorithm),
        (DKIMTestKeys.ellipticPKCS8, .otherAlgorithm),
    ])
    func `that cannot sign is refused for what is wrong with it`(pem: String, error: DKIMError) {
        #expect(throws: error) { try DKIMKey(pem: pem) }
    }

    @Test(arguments: [DKIMTestKeys.rsa, DKIMTestKeys.rsaPKCS8, DKIMTestKeys.ed25519])
    func `that lost bytes is refused`(pem: String) {
        let lines = pem.split(separator: "\n")
        let short = [lines[0], lines[1].prefix(32)] + lines.suffix(1)
        #expect(throws: DKIMError.damaged) { try DKIMKey(pem: short.joined(separator: "\n")) }
    }

    @Test(arguments: [DKIMTestKeys.rsa, DKIMTestKeys.ed25519])
    func `shows its algorithm only`(pem: String) throws {
        let key = try DKIMKey(pem: pem)
        var dumped = ""
        dump(DKIMSigner.Identity(selector: "s1", key: key), to: &dumped)
        #expect("\(key)" == key.algorithm.rawValue)
        #expect(dumped.contains("s1") && !dumped.contains("PrivateKey") && !dumped.contains("secret"))
    }
}
