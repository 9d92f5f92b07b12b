// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl
import Glibc

/// Whom a transfer trusts, and what it shows of itself. Paths of PEM files.
package struct TransferTLS: Hashable, Sendable {
    /// The authorities that the server's certificate is verified by, and no others; `nil`: the system's.
    package var authorities: String?
    /// The client's own certificate, shown if the server asks for one.
    package var certificate: String?
    /// The certificate's key.
    package var key: String?
    /// Goes along with each request, and with plain HTTP past every proxy; `nil`: nothing does.
    package var token: CallerToken?

    /// - Parameters:
    ///   - authorities: of the server's certificate; `nil`: the system's.
    ///   - certificate: the client's own, with its `key`.
    ///   - token: by which the server knows who sends a request.
    package init(
        authorities: String? = nil, certificate: String? = nil, key: String? = nil, token: CallerToken? = nil
    ) {
        self.token = token
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
    }

    /// What SSL_CERT_FILE names in place of the system's authorities. The program of libcurl reads it, the library does
    /// not. Read once: the environment is that of the start.
    static let environmentAuthorities: String? = getenv("SSL_CERT_FILE").flatMap { text in
        let path = String(cString: text)
        return path.isEmpty ? nil : path
    }

    /// Tells a handle of libcurl whom to trust, and what to show.
    static func set(_ tls: TransferTLS?, on easy: UnsafeMutableRawPointer) {
        queuepool_curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, 1)
        queuepool_curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, 2)
        if let authorities = tls?.authorities ?? environmentAuthorities {
            queuepool_curl_set_text(easy, CURLOPT_CAINFO, authorities)
        }
        if tls?.authorities != nil {
            // Or else the system's directory of authorities would be asked too.
            queuepool_curl_set_text(easy, CURLOPT_CAPATH, nil)
        }
        if let certificate = tls?.certificate, let key = tls?.key {
            queuepool_curl_set_text(easy, CURLOPT_SSLCERT, certificate)
            queuepool_curl_set_text(easy, CURLOPT_SSLKEY, key)
        }
    }
}

/// Why TLS came to nothing, where trying again changes nothing before somebody changes a file or an address.
package enum TLSTrouble: Error, Hashable, Sendable, CustomStringConvertible {
    case unknownAuthority
    case otherName
    case expired
    case notYetValid
    /// The file of authorities.
    case authoritiesFile
    /// The client's own certificate or key.
    case ownCertificate
    case other

    package var description: String {
        switch self {
        case .unknownAuthority:
            "its certificate is of no authority that is trusted here; --tls-ca FILE or SSL_CERT_FILE names another"
        case .otherName: "its certificate is for another name than the address has"
        case .expired: "its certificate has expired"
        case .notYetValid: "its certificate is not valid yet, or the clock of this machine is wrong"
        case .authoritiesFile: "the file of trusted authorities has no certificate in PEM, or cannot be read"
        case .ownCertificate: "the client's certificate or its key is of no use"
        case .other: "its certificate does not hold, or it does not speak TLS"
        }
    }

    /// What libcurl's result says of TLS; `nil` if it says nothing that another try would not change.
    /// - Parameter verification: what OpenSSL says of the certificate (X509_V_ERR_... of x509_vfy.h).
    init?(_ code: CURLcode, verification: Int) {
        switch code {
        case CURLE_PEER_FAILED_VERIFICATION:
            self =
                switch verification {
                case 2, 18, 19, 20, 21: .unknownAuthority
                case 9: .notYetValid
                case 10: .expired
                // libcurl compares names itself, before it asks what OpenSSL found: then that is what it began with.
                case 0, 1, 62, 64: .otherName
                default: .other
                }
        case CURLE_SSL_CACERT_BADFILE: self = .authoritiesFile
        case CURLE_SSL_CERTPROBLEM: self = .ownCertificate
        case CURLE_USE_SSL_FAILED, CURLE_SSL_CIPHER: self = .other
        default: return nil
        }
    }
}
