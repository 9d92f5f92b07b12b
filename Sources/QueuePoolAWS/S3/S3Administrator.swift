// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolCurl
import Synchronization

/// What there is under a bucket's name.
package enum S3BucketState: Hashable, Sendable {
    /// Its objects may be listed. `nil`: the service did not say where it is.
    case usable(region: String?)
    /// It is another region's: its objects are not reached from here.
    case elsewhere(region: String?)
    /// Somebody has a bucket of this name, and these credentials may not list it.
    case forbidden
    case absent
}

// Calls of commands, a few in a pool's life. They block their thread until the service's own has the answer; they must
// never be made from an event loop or a task.

/// Buckets of one region as an administrator sees them.
package struct S3Administrator: Sendable {
    private let service: S3Service

    package init(service: S3Service) { self.service = service }

    /// Whether a bucket can be used, found out by listing nothing of it.
    package func state(ofBucket bucket: String) throws(AWSError) -> S3BucketState {
        do throws(AWSError) {
            let answer = try call("GET", bucket, query: "list-type=2&max-keys=0", alsoTaking: [301, 307, 400])
            let text = XMLText(answer.body)
            let region = answer.header("x-amz-bucket-region") ?? text.first("Region")
            let place = region.flatMap { AWSEndpoints.isRegion($0) ? $0 : nil }
            if answer.status < 300 { return .usable(region: place) }
            let code = text.first("Code").map(safeCode) ?? "HTTP\(answer.status)"
            guard S3Administrator.redirections.contains(code) else {
                throw .permanent(code: code, status: answer.status)
            }
            return .elsewhere(region: place)
        } catch {
            switch error {
            case .permanent(code: "NoSuchBucket", _): return .absent
            case .permanent(_, status: 403): return .forbidden
            default: throw error
            }
        }
    }

    /// How a region says that a bucket is another's.
    private static let redirections: Set<String> = [
        "PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    ]

    /// Makes a bucket in the service's region; one that is ours already is left as it is.
    ///
    /// What S3 sets by itself is what bodies need: no public access, encryption with S3's keys.
    package func create(bucket: String) throws(AWSError) {
        // S3's first region is the one that cannot be named.
        let body =
            service.region == "us-east-1"
            ? ""
            : "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>"
                + "\(XMLText.escaped(service.region))</LocationConstraint></CreateBucketConfiguration>"
        do throws(AWSError) { _ = try call("PUT", bucket, body: Array(body.utf8)) } catch {
            guard error.code == "BucketAlreadyOwnedByYou" else { throw error }
        }
    }

    /// Lets bodies go that nobody removed. The bucket's other rules stay; a rule that keeps bodies longer does too.
    ///
    /// S3 has no condition for this write: a rule that somebody else adds in the same second may be lost.
    /// - Parameter days: longer than a message is kept, for its body must outlive it.
    /// - Returns: whether anything was changed.
    @discardableResult
    package func expire(_ folder: S3Folder, afterDays days: Int) throws(AWSError) -> Bool {
        var rules = LifecycleRules()
        var headers: [(name: String, value: String)] = []
        do throws(AWSError) {
            let answer = try call("GET", folder.bucket, query: "lifecycle=")
            guard let found = LifecycleRules(answer.body) else {
                throw .permanent(code: "UnreadableLifecycle", status: answer.status)
            }
            rules = found
            // Not part of the document, but written with it, and reset where it is not sent.
            let name = "x-amz-transition-default-minimum-object-size"
            if let size = answer.header(name) { headers.append((name, size)) }
        } catch {
            guard error.code == "NoSuchLifecycleConfiguration" else { throw error }
        }
        guard rules.expire(folder, afterDays: max(1, days)) else { return false }
        let document = rules.bytes
        headers.append(("Content-MD5", LifecycleRules.digest(document)))
        headers.append(("Content-Type", "application/xml"))
        _ = try call("PUT", folder.bucket, query: "lifecycle=", headers: headers, body: document)
        return true
    }

    private func call(
        _ method: String, _ bucket: String, query: String = "", headers: [(name: String, value: String)] = [],
        body: [UInt8] = [], alsoTaking statuses: Set<Int> = []
    ) throws(AWSError) -> HTTPResponse {
        // Whoever names buckets here may have read them anywhere: one must not lead to another path.
        guard S3Folder.isBucket(bucket) else { throw .permanent(code: "InvalidBucketName", status: 0) }
        let arrival = DispatchSemaphore(value: 0)
        let held = HeldAnswer()
        service.call(method, bucket, query: query, headers: headers, body: body, alsoTaking: statuses) { result in
            held.result.withLock { $0 = result }
            arrival.signal()
        }
        arrival.wait()
        return try held.result.withLock { $0 }.get()
    }
}

/// An answer on its way from the service's thread to the one that waits.
private final class HeldAnswer: Sendable {
    let result = Mutex<Result<HTTPResponse, AWSError>>(.failure(.cancelled))
}
