// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
package import QueuePoolCurl
import QueuePoolJSON
import Synchronization

// Leases of workers that reach a pool through a server: the server keeps them in its control store, beside those of
// workers that use the store themselves. The other end is LeaseService of the server.

/// The lease store behind a queuepool server.
package final class HTTPLeaseStore: LeaseStore {
    /// Well inside of a lease's term: what took longer is tried again.
    private static let timeoutMilliseconds = 3_000
    /// 256 shards and 10,000 workers.
    private static let answerBytesMax = 8 << 20

    private let engine: CurlEngine
    private let endpoint: String
    private let tls: TransferTLS?

    /// - Parameters:
    ///   - endpoint: `http://HOST:PORT`, without a slash at its end.
    ///   - tls: towards the server; `nil`: as usual.
    package init(engine: CurlEngine, endpoint: String, tls: TransferTLS? = nil) {
        self.tls = tls
        self.engine = engine
        self.endpoint = endpoint
    }

    package func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        try HTTPLeaseStore.table(try perform("GET", "/v1/pools/\(pool)/leases").body)
    }

    /// Whether the server has these requests. One that does not answer, or fails, may have them.
    /// - Throws: `AccessRefusal` if it lets nobody have them who asks as this worker does.
    package func isServed(ofPool pool: String) async throws(AccessRefusal) -> Bool {
        let request = HTTPRequest(
            method: "GET", url: "\(endpoint)/v1/pools/\(pool)/leases",
            timeoutMilliseconds: HTTPLeaseStore.timeoutMilliseconds, answerBytesMax: HTTPLeaseStore.answerBytesMax)
        guard case .success(let response) = await engine.outcome(request, at: tls) else { return true }
        if let refusal = response.accessRefusal { throw refusal }
        return response.absence != .request
    }

    /// Reads the answer of `GET /v1/pools/{pool}/leases`.
    static func table(_ body: [UInt8]) throws(LeaseStoreError) -> LeaseTable {
        try read(body) { (json) throws(JSONFault) in
            var table = LeaseTable()
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("workers") {
                    try json.beginArray()
                    while try json.nextElement() { table.heartbeats.append(try HTTPLeaseStore.heartbeat(&json)) }
                } else if key.equals("leases") {
                    try json.beginArray()
                    while try json.nextElement() { table.leases.append(try HTTPLeaseStore.lease(&json)) }
                } else {
                    try json.skipValue()
                }
            }
            return table
        }
    }

    package func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        let body = HTTPLeaseStore.object { json in
            json.key("beat")
            json.int(heartbeat.beat)
            json.key("renewedAt")
            json.int(heartbeat.renewedAt.milliseconds)
            json.key("isLeaving")
            json.bool(heartbeat.isLeaving)
        }
        _ = try perform("PUT", "/v1/pools/\(pool)/workers/\(heartbeat.worker)", body)
    }

    package func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        _ = try perform("DELETE", "/v1/pools/\(pool)/workers/\(worker)?beat=\(beat)")
    }

    package func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        let body = HTTPLeaseStore.object { json in
            json.key("version")
            json.int(lease.version)
            json.key("owner")
            if let owner = lease.owner { json.string(owner.text) } else { json.null() }
            json.key("next")
            if let next = lease.next { json.string(next.text) } else { json.null() }
            json.key("acquiredAt")
            json.int(lease.acquiredAt.milliseconds)
        }
        let response = try perform("PUT", "/v1/pools/\(pool)/leases/\(lease.shard.number)", body)
        return try HTTPLeaseStore.read(response.body) { (json) throws(JSONFault) in
            try HTTPLeaseStore.lease(&json).version
        }
    }

    /// Nothing: the server does it when it deletes a pool.
    package func removeAll(ofPool pool: PoolName) {}

    // MARK: - Wire

    private func perform(_ method: String, _ path: String, _ body: [UInt8] = []) throws(LeaseStoreError) -> HTTPResponse
    {
        var request = HTTPRequest(
            method: method, url: endpoint + path, headers: [("Content-Type", "application/json")], body: body,
            timeoutMilliseconds: HTTPLeaseStore.timeoutMilliseconds, answerBytesMax: HTTPLeaseStore.answerBytesMax)
        request.tls = tls
        let shown = tls?.token?.text
        var response = try answer(request)
        // Nothing was done, and with another token it may be.
        if response.isRefusal, let shown, tls?.token?.isOther(than: shown) == true { response = try answer(request) }
        switch response.status {
        case 200...299: return response
        case 409: throw .conflict
        case 404: throw .noPool
        default:
            let why = response.accessRefusal.map { ", \($0)" } ?? ""
            throw .failed(code: "HTTP \(response.status)\(why)")
        }
    }

    private func answer(_ request: HTTPRequest) throws(LeaseStoreError) -> HTTPResponse {
        let done = DispatchSemaphore(value: 0)
        let answer = Mutex<Result<HTTPResponse, CurlFailure>?>(nil)
        _ = engine.start(request) { result in
            answer.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard case .success(let response) = answer.withLock({ $0 }) else { throw .failed(code: "unreachable") }
        return response
    }

    private static func object(_ write: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter(capacity: 256)
        json.beginObject()
        write(&json)
        json.endObject()
        return json.take()
    }

    private static func read<Value>(
        _ answer: [UInt8], _ body: (inout JSONReader) throws(JSONFault) -> Value
    ) throws(LeaseStoreError) -> Value {
        let result: Result<Value, JSONFault> = answer.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) { return .success(try body(&json)) } catch { return .failure(error) }
        }
        guard case .success(let value) = result else { throw .failed(code: "no-answer-of-leases") }
        return value
    }

    private static func heartbeat(_ json: inout JSONReader) throws(JSONFault) -> WorkerHeartbeat {
        var worker: WorkerID?
        var heartbeat = (beat: 0, renewedAt: 0, isLeaving: false)
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("worker") {
                worker = WorkerID(try json.readString().text)
            } else if key.equals("beat") {
                heartbeat.beat = try json.readInt()
            } else if key.equals("renewedAt") {
                heartbeat.renewedAt = try json.readInt()
            } else if key.equals("isLeaving") {
                heartbeat.isLeaving = try json.readBool()
            } else {
                try json.skipValue()
            }
        }
        guard let worker else { throw JSONFault(offset: 0, reason: .wrongKind) }
        return WorkerHeartbeat(
            worker: worker, beat: heartbeat.beat, renewedAt: Timestamp(milliseconds: Int64(heartbeat.renewedAt)),
            isLeaving: heartbeat.isLeaving)
    }

    private static func lease(_ json: inout JSONReader) throws(JSONFault) -> ShardLease {
        var lease = (shard: 0, acquiredAt: 0, version: 0)
        var owner: WorkerID?
        var next: WorkerID?
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("shard") {
                lease.shard = try json.readInt()
            } else if key.equals("acquiredAt") {
                lease.acquiredAt = try json.readInt()
            } else if key.equals("version") {
                lease.version = try json.readInt()
            } else if key.equals("owner") {
                owner = try HTTPLeaseStore.worker(&json)
            } else if key.equals("next") {
                next = try HTTPLeaseStore.worker(&json)
            } else {
                try json.skipValue()
            }
        }
        return ShardLease(
            shard: ShardIndex(lease.shard), owner: owner, next: next,
            acquiredAt: Timestamp(milliseconds: Int64(lease.acquiredAt)), version: lease.version)
    }

    private static func worker(_ json: inout JSONReader) throws(JSONFault) -> WorkerID? {
        guard json.peekKind() != .null else {
            try json.readNull()
            return nil
        }
        // A worker that cannot be read is not nobody: its shard would be taken from it.
        guard let worker = WorkerID(try json.readString().text) else { throw JSONFault(offset: 0, reason: .wrongKind) }
        return worker
    }
}

extension HTTPResponse {
    /// What a server says that it does not have.
    enum Absence: Hashable {
        case pool
        /// The request itself.
        case request
    }

    /// What the server does not have, if it says so. A 404 that is none of ours comes from somebody who knows no pools.
    var absence: Absence? {
        switch status {
        case 404: String(decoding: body, as: UTF8.self).contains(":no-such-pool\"") ? .pool : .request
        case 405, 501: .request
        default: nil
        }
    }
}
