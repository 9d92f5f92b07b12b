// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOSSL
import SwiftASN1
import X509

/// What a client's certificate calls it.
enum PeerName {
    /// The first mail address, DNS name or URI among the alternative names; if there is none of them, the subject's only
    /// common name.
    static func of(_ certificate: NIOSSLCertificate) -> String? {
        guard let bytes = try? certificate.toDERBytes(), let certificate = try? Certificate(derEncoded: bytes) else {
            return nil
        }
        let alternatives: SubjectAlternativeNames?
        // Names that cannot be read may be other names than the subject's.
        do { alternatives = try certificate.extensions.subjectAlternativeNames } catch { return nil }
        for alternative in alternatives ?? SubjectAlternativeNames([]) {
            switch alternative {
            case .rfc822Name(let name), .dnsName(let name), .uniformResourceIdentifier(let name): return checked(name)
            default: continue
            }
        }
        let common = certificate.subject.joined().filter { $0.type == .RDNAttributeType.commonName }
        guard common.count == 1, let name = String(common[0].value) else { return nil }
        return checked(name)
    }

    /// A name goes into logs and is compared with others: what is not printable is no name.
    private static func checked(_ name: String) -> String? {
        let isPlain = name.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 && $0.value != 0xFFFD }
        return !name.isEmpty && name.utf8.count <= 256 && isPlain ? name : nil
    }
}
