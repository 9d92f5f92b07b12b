// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolWorker
import ServiceLifecycle

// Delivers the messages of a pool to a function, until it is told to stop:
//     ExampleWorker [POOL [ENDPOINT]]

@main
struct ExampleWorker {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let logger = Logger(label: "example")
        let worker = try Worker(
            pool: arguments.first ?? "emails.fifo", endpoint: arguments.dropFirst().first ?? "http://127.0.0.1:9324",
            logger: logger
        ) { message in
            try await handle(message.id, message.body)
        }
        // SIGTERM and Ctrl-C: deliveries under way end, the rest is given back.
        let services = ServiceGroup(services: [worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await services.run()
    }

    /// What the program does with a message. Returning means that it is delivered.
    static func handle(_ id: String, _ body: [UInt8]) async throws {
        guard let text = String(validating: body, as: UTF8.self) else { throw DeliveryRefused(errorClass: "no-text") }
        print("handled \(id): \(text.count) characters")
    }
}
