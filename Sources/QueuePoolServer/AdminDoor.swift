// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import Logging
import NIOPosix
import ServiceLifecycle

// Operators need the server most when its port is full. So they may have one of their own: the same routes and the same
// pools behind it, but a listening socket, connections, bytes and an event loop that no sender can take. It opens before
// the other port and closes after it, so that a start can be waited for and a stop be watched.

/// Where operators are answered, and what they may take.
package struct AdminDoorOptions: Sendable {
    package var host: String
    package var port: Int
    package var limits: DoorLimits
    package var browsers: BrowserGuard

    /// Connections at one time: people, scrapers and probes, and never senders.
    package static let connectionsMax = 64
    /// Requests not yet whole and answers not yet read.
    private static let heldBytesMax = 64 << 20

    /// - Parameters:
    ///   - limits: the other door's, of which those stay that are each connection's own.
    ///   - connectionsMax: how many there is room for.
    package init(
        host: String, port: Int, browsers: BrowserGuard, beside limits: DoorLimits,
        connectionsMax: Int = AdminDoorOptions.connectionsMax
    ) {
        self.host = host
        self.port = port
        self.browsers = browsers
        self.limits = limits
        self.limits.connectionsMax = connectionsMax
        self.limits.connectionsOfAddressMax = connectionsMax
        self.limits.heldBytesMax = min(limits.heldBytesMax, AdminDoorOptions.heldBytesMax)
    }
}

/// Why operators are not answered.
package struct AdminDoorFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

/// Runs the operators' door around that of everybody else.
struct AdminDoor<Application: ApplicationProtocol>: Sendable {
    let application: Application
    /// Told by the application that it listens.
    let listening: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)
    let logger: Logger

    /// Listens, does `body`, and stops listening when that has ended, in whichever way.
    /// - Throws: what `body` throws; `AdminDoorFailure` if there is no listening, and then `body` is not begun.
    func serve(while body: () async throws -> Void) async throws {
        let group = ServiceGroup(configuration: .init(services: [application], logger: logger))
        // Detached: a task below this one would be told to stop when the other door is.
        let task = Task.detached { [listening] in
            defer { listening.continuation.finish() }
            try await group.run()
        }
        try await withTaskCancellationHandler {
            try await waitForListening(task)
            do { try await body() } catch {
                await end(group, task)
                throw error
            }
            await end(group, task)
        } onCancel: {
            task.cancel()
        }
    }

    private func waitForListening(_ task: Task<Void, any Error>) async throws {
        for await _ in listening.stream { return }
        if case .failure(let error) = await task.result { throw AdminDoorFailure(description: "\(error)") }
        throw AdminDoorFailure(description: "it was told to stop")
    }

    private func end(_ group: ServiceGroup, _ task: Task<Void, any Error>) async {
        await group.triggerGracefulShutdown()
        if case .failure(let error) = await task.result, !(error is CancellationError) {
            logger.error("The admin port ended with a failure", metadata: ["error": "\(error)"])
        }
    }
}
