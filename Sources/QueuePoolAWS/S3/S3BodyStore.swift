// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QueuePoolCore
import QueuePoolCurl

// One object a body, written whole: S3 answers when it is stored in several places, and refuses bytes that are not those
// whose hash was signed. A key is never written twice, so a request whose answer was lost may be made again. S3 says that
// an object is missing only to who may list the bucket; to others it is forbidden, and then a body that is gone looks
// like one that may not be read.

/// Keeps bodies as objects of a bucket.
package final class S3BodyStore: BodyStore {
    /// The largest body that is ever stored or read, in bytes.
    package static let bytesMax = 40 << 20

    package let folder: S3Folder
    private let service: S3Service
    private let encryption: S3Encryption?
    private let bytesMax: Int

    /// - Parameters:
    ///   - encryption: `nil`: what the bucket's own setting says.
    ///   - bytesMax: of a body that is stored, up to `S3BodyStore.bytesMax`.
    package init(
        folder: S3Folder, service: S3Service, encryption: S3Encryption? = nil, bytesMax: Int = S3BodyStore.bytesMax
    ) {
        self.folder = folder
        self.service = service
        self.encryption = encryption
        self.bytesMax = min(bytesMax, S3BodyStore.bytesMax)
    }

    package var bucket: String { folder.bucket }

    package func newKey() -> String { "\(folder.prefix)/\(UUID().uuidString.lowercased())" }

    package func put(
        _ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void
    ) {
        guard body.count <= bytesMax else {
            let error = BodyStoreError.tooLarge(bytes: body.count, allowed: bytesMax)
            return service.later { completion(.failure(error)) }
        }
        guard folder.holds(key) else { return service.later { completion(.failure(S3BodyStore.foreign)) } }
        var headers = encryption?.headers ?? []
        headers.append(("Content-Type", "application/octet-stream"))
        service.call("PUT", bucket, key: key, headers: headers, body: body) { result in
            completion(result.map { _ in }.mapError(S3BodyStore.error))
        }
    }

    /// - Parameter key: of any object of the bucket: extended clients choose keys of their own.
    package func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        let allowed = min(max(0, bytesMax), S3BodyStore.bytesMax)
        // A refusal's document must fit too.
        let answerBytesMax = max(allowed, 64 << 10)
        service.call("GET", bucket, key: key, answerBytesMax: answerBytesMax) { [self] result in
            switch result {
            case .success(let response) where response.body.count <= allowed:
                completion(.success(response.body))
            case .success(let response):
                completion(.failure(.tooLarge(bytes: response.body.count, allowed: allowed)))
            case .failure(.permanent(code: "AnswerTooLarge", _)):
                tellSize(key: key, atLeast: answerBytesMax + 1, allowed: allowed) { completion(.failure($0)) }
            case .failure(let error):
                completion(.failure(S3BodyStore.error(error)))
            }
        }
    }

    /// - Parameter key: in the folder. What deletes a message names its body by the receipt handle, which anybody may
    ///   make up: nothing else in the bucket can be removed in this way.
    package func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        guard folder.holds(key) else { return service.later { completion(.failure(S3BodyStore.foreign)) } }
        service.call("DELETE", bucket, key: key) { result in
            let result = result.map { _ in }.mapError(S3BodyStore.error)
            // S3 itself answers 204 for what is not there; others may not.
            if case .failure(.missing) = result { return completion(.success(())) }
            completion(result)
        }
    }

    // MARK: - Parts

    /// A body that is too large was left unread in the middle; its first byte's answer says how large it is.
    private func tellSize(
        key: String, atLeast: Int, allowed: Int, _ completion: @escaping @Sendable (BodyStoreError) -> Void
    ) {
        service.call("GET", bucket, key: key, headers: [("Range", "bytes=0-0")], answerBytesMax: 64 << 10) { result in
            // `bytes 0-0/12345`; some services do not tell, or know no ranges.
            let range = (try? result.get())?.header("Content-Range")?.split(separator: "/").last
            completion(.tooLarge(bytes: max(atLeast, range.flatMap { Int($0) } ?? 0), allowed: allowed))
        }
    }

    private static let foreign = BodyStoreError.refused(code: "ForeignKey")

    /// What a caller may do next about a failure.
    static func error(_ error: AWSError) -> BodyStoreError {
        switch error {
        case .throttled(let code), .retryable(let code), .unknownOutcome(let code): .unavailable(code: code)
        // Credentials may come back, and an engine that was closed says nothing about the body.
        case .credentials, .cancelled: .unavailable(code: error.code)
        case .permanent(code: "NoSuchKey", _): .missing
        case .permanent(let code, _): .refused(code: code)
        }
    }
}
