// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCore
import QueuePoolSealing
import QueuePoolSettings

/// A key of AWS KMS that opens data keys. Calls block.
struct KMSKey: KeyUnwrapping {
    fileprivate let service: KeyManagement
    fileprivate let name: String

    /// - Parameter setting: that names the key.
    /// - Throws: `CommandFailure` if nobody named a region, or the service would be asked without TLS.
    init(_ key: KMSKeyName, of setting: Setting, _ settings: ControlSettings, clock: any Clock) throws {
        var settings = settings
        // An ARN says where the key is, and then nobody else has to.
        if settings.awsRegion == nil { settings.awsRegion = key.region }
        let access = try AWSAccess(settings, clock: clock)
        let region = key.region ?? access.region
        let endpoint = try access.endpoint("kms", region: region)
        do throws(AWSError) {
            service = try KeyManagement(caller: access.caller, region: region, endpoint: endpoint, clock: clock)
        } catch {
            throw CommandFailure(
                "setting '\(setting.key)': data keys go to AWS KMS by https only, and by http on loopback; allowed "
                    + "besides: another '\(Setting.awsEndpoint.key)'", status: ExitStatus.configuration)
        }
        name = key.text
    }

    /// Whether it is that one the service says itself.
    func fits(_ id: String) -> Bool { id.hasPrefix("arn:") }

    func unwrap(_ wrapped: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        do throws(AWSError) { return try service.decrypt(wrapped, key: name, context: purpose.context) } catch {
            throw KMSKey.fault(error)
        }
    }

    fileprivate static func fault(_ error: AWSError) -> KeyWrappingFault {
        switch error {
        case .permanent("InvalidCiphertextException", _): .notOpened
        case .permanent("IncorrectKeyException", _): .otherKey
        case .permanent(let code, let status) where status > 0: .refused(code: code)
        case .credentials(let reason): .unavailable(reason: "no credentials: \(reason)")
        case .permanent, .throttled, .retryable, .unknownOutcome, .cancelled: .unavailable(reason: error.code)
        }
    }
}

/// A key of AWS KMS that is seen to encrypt and decrypt: no data key is made, or wrapped anew, that could not be opened.
struct KMSMasterKey: KeyWrapping {
    /// The key's ARN, also where an alias was named, which may name another key tomorrow.
    let id: String
    private let key: KMSKey

    private static let trial = Array("queuepool".utf8)
    private static let trialContext = ["application": "queuepool", "purpose": "trial"]

    /// Asks the service.
    init(_ key: KMSKey) throws(KeyWrappingFault) {
        let opened: [UInt8]
        do throws(AWSError) {
            let sealed = try key.service.encrypt(
                KMSMasterKey.trial, key: key.name, context: KMSMasterKey.trialContext)
            id = sealed.key
            opened = try key.service.decrypt(
                sealed.ciphertext, key: sealed.key, context: KMSMasterKey.trialContext)
        } catch { throw KMSKey.fault(error) }
        guard opened == KMSMasterKey.trial else { throw .notOpened }
        self.key = key
    }

    func wrap(_ dataKey: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        do throws(AWSError) {
            let sealed = try key.service.encrypt(dataKey, key: id, context: purpose.context)
            guard sealed.key == id else { throw .permanent(code: "IncorrectKeyException", status: 0) }
            return sealed.ciphertext
        } catch { throw KMSKey.fault(error) }
    }

    func unwrap(_ wrapped: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        do throws(AWSError) { return try key.service.decrypt(wrapped, key: id, context: purpose.context) } catch {
            throw KMSKey.fault(error)
        }
    }
}
