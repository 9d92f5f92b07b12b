// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSigning

// A client's certificate that was verified says a name. Where it is said that this is enough, the name is a key's, and
// who shows nothing else has that key's rights for as long as the key has a secret that is accepted.

extension AccessGate {
    /// Who sent a request that shows neither a token nor a signature.
    /// - Parameter life: the request's connection.
    func caller(byCertificateOf life: ConnectionLife?) throws(AccessFault) -> Caller {
        guard takesCertificates, let name = life?.certificateName else {
            throw .unauthenticated(.missingAuthenticationToken)
        }
        let now = clock.wallTime()
        guard let pass = current.passes(ofKeyNamed: name).first(where: { $0.secret.isLive(at: now) }) else {
            throw .unknownCertificate
        }
        note(pass, at: now)
        return Caller(pass: pass)
    }
}
