// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why a request is not taken for its signature, with the code and the status that AWS answers.
///
/// Its texts name fields, never what stands in them.
package enum SignatureFault: Error, Hashable, Sendable {
    /// The request is not signed at all.
    case missingAuthenticationToken
    /// The signature is there and cannot be read.
    case incompleteSignature(String)
    /// Nobody has this access key id.
    case invalidClientTokenId
    /// The signature is not of this request, or of what it may not be.
    case signatureDoesNotMatch(String)
    /// The request is too old, or from the future.
    case requestExpired(String)

    /// As AWS names it.
    package var code: String {
        switch self {
        case .missingAuthenticationToken: "MissingAuthenticationToken"
        case .incompleteSignature: "IncompleteSignature"
        case .invalidClientTokenId: "InvalidClientTokenId"
        case .signatureDoesNotMatch: "SignatureDoesNotMatch"
        case .requestExpired: "RequestExpired"
        }
    }

    /// The status of the answer.
    package var status: Int {
        switch self {
        case .incompleteSignature, .requestExpired: 400
        case .missingAuthenticationToken, .invalidClientTokenId, .signatureDoesNotMatch: 403
        }
    }

    /// For the caller.
    package var message: String {
        switch self {
        case .missingAuthenticationToken: "The request is not signed."
        case .invalidClientTokenId: "The access key id of the request is not known."
        case .incompleteSignature(let text), .signatureDoesNotMatch(let text), .requestExpired(let text): text
        }
    }

    static let mismatch = SignatureFault.signatureDoesNotMatch(
        "The signature is not the one that the secret access key makes of this request.")
}
