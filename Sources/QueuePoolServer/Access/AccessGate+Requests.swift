// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import QueuePoolCore
import QueuePoolSigning

// A request shows who it is from by a bearer token or by a signature, in any protocol. Requests of both ways in are
// seen as the same `SignedRequest`; the front door's are filled from the bytes of their heads.

extension AccessGate {
    /// Who sent a plain request.
    /// - Parameters:
    ///   - head: with its blank line.
    ///   - authorization: where in the head the value of Authorization is.
    ///   - life: the connection's, whose certificate is looked at if there is nothing in the head.
    func caller(
        head: UnsafeRawBufferPointer, authorization: Range<Int>?, body: UnsafeRawBufferPointer, isEncrypted: Bool,
        life: ConnectionLife? = nil
    ) throws(AccessFault) -> Caller {
        guard let authorization else { return try caller(byCertificateOf: life) }
        let value = UnsafeRawBufferPointer(rebasing: head[authorization])
        if let token = AccessGate.token(value) { return try caller(token: token) }
        guard let request = SignedRequest(head: head) else { throw .unauthenticated(.missingAuthenticationToken) }
        return try caller(request, .bytes(body), isEncrypted: isEncrypted)
    }

    /// Who has a bearer token.
    func caller(token: UnsafeRawBufferPointer) throws(AccessFault) -> Caller {
        let now = clock.wallTime()
        guard token.count == AccessCredentials.tokenBytes,
            let pass = current.pass(ofToken: AccessBook.TokenHash(ofToken: token)),
            pass.secret.isLive(at: now)
        else { throw .unknownToken }
        note(pass, at: now)
        return Caller(pass: pass)
    }

    /// Who signed a request.
    func caller(
        _ request: SignedRequest, _ payload: SignedPayload, isEncrypted: Bool
    ) throws(AccessFault) -> Caller {
        do throws(SignatureFault) {
            guard let claim = try verifier.claim(in: request) else { throw .missingAuthenticationToken }
            return try caller(claim, request, payload, isEncrypted: isEncrypted)
        } catch { throw .unauthenticated(error) }
    }

    /// Who made a claim.
    func caller(
        _ claim: SignatureClaim, _ request: SignedRequest, _ payload: SignedPayload, isEncrypted: Bool
    ) throws(SignatureFault) -> Caller {
        let now = clock.wallTime()
        var fault = SignatureFault.invalidClientTokenId
        // One by one, so that it is known which secret it was: each may end by itself.
        for pass in current.passes(ofKey: claim.accessKeyID) where pass.secret.isLive(at: now) {
            do throws(SignatureFault) {
                try verifier.verify(
                    claim, request, payload, secrets: [pass.secret.secret], allowsUnsignedPayload: isEncrypted,
                    now: now)
                note(pass, at: now)
                return Caller(pass: pass)
            } catch { fault = error }
        }
        throw fault
    }

    /// The token in a value of Authorization; `nil` if it is of another scheme.
    static func token(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let scheme: StaticString = "bearer "
        guard value.count >= scheme.utf8CodeUnitCount else { return nil }
        for index in 0..<scheme.utf8CodeUnitCount where value[index] | 32 != scheme.utf8Start[index] { return nil }
        var start = scheme.utf8CodeUnitCount
        while start < value.count, value[start] == UInt8(ascii: " ") { start += 1 }
        return UnsafeRawBufferPointer(rebasing: value[start...])
    }
}

extension SignedRequest {
    /// - Parameter head: one that `RequestHead` found plain.
    init?(head: UnsafeRawBufferPointer) {
        var lines = HeadLines(UnsafeRawBufferPointer(rebasing: head.dropLast(2)))
        guard let first = lines.next() else { return nil }
        let words = first.split(separator: UInt8(ascii: " "))
        guard words.count == 3 else { return nil }
        self.init(
            method: UnsafeRawBufferPointer(rebasing: words[0]), target: UnsafeRawBufferPointer(rebasing: words[1]))
        while let line = lines.next() {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            add(
                name: UnsafeRawBufferPointer(rebasing: line[..<colon]),
                value: UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]))
        }
    }

    init(_ request: Request) {
        self.init(method: request.method.rawValue, target: request.head.path ?? "")
        // It is no field of its own there.
        if let host = request.head.authority { add(name: "host", value: host) }
        for field in request.headers { add(name: field.name.rawName, value: field.value) }
    }
}
