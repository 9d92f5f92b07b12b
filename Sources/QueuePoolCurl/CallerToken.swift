// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// The token by which requests show a server who sends them. No description shows it.
package final class CallerToken: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    private static let readings = DispatchQueue(label: "queuepool.token")

    private let current: Mutex<String>
    private let reread: (@Sendable () -> String?)?

    /// - Parameter reread: reads it again, where it may be another by now; it may block. `nil`: nothing to be had.
    package init(_ text: String, reread: (@Sendable () -> String?)? = nil) {
        current = Mutex(text)
        self.reread = reread
    }

    /// What requests show from now on.
    package var text: String { current.withLock { $0 } }

    /// Looks for another one after a server did not accept this; it may block.
    /// - Returns: whether requests show another one now.
    package func isOther(than refused: String) -> Bool {
        guard text == refused else { return true }
        guard let found = reread?() else { return false }
        current.withLock { $0 = found }
        return found != refused
    }

    /// The same without blocking the caller.
    package func isOther(than refused: String) async -> Bool {
        guard reread != nil else { return text != refused }
        return await withCheckedContinuation { continuation in
            CallerToken.readings.async { continuation.resume(returning: self.isOther(than: refused)) }
        }
    }

    package static func == (a: CallerToken, b: CallerToken) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
    package var description: String { "(hidden)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension HTTPResponse {
    /// Whether who sent the request is not known, or may not do this; then nothing of it was done.
    package var isRefusal: Bool { status == 401 || status == 403 }
}

extension CurlEngine {
    /// Performs a request at a server that may want to know who sends it. With a token that was not accepted and is
    /// another by now it is performed again, once.
    /// - Parameter server: whom it trusts there, and what it shows.
    package func outcome(
        _ request: HTTPRequest, at server: TransferTLS?
    ) async -> Result<HTTPResponse, CurlFailure> {
        var request = request
        request.tls = server
        let shown = server?.token?.text
        let result = await outcome(request)
        guard case .success(let response) = result, response.isRefusal, let token = server?.token, let shown,
            await token.isOther(than: shown)
        else { return result }
        return await outcome(request)
    }
}
