// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ServiceLifecycle
import UnixSignals

/// Does one thing at each SIGHUP, for as long as the server runs.
struct HangupService: Service {
    private let signals: UnixSignalsSequence
    private let action: @Sendable () async -> Void

    /// From here on SIGHUP does not end the process.
    init(_ action: @escaping @Sendable () async -> Void) async {
        self.action = action
        signals = await UnixSignalsSequence(trapping: .sighup)
    }

    func run() async throws {
        for await _ in signals.cancelOnGracefulShutdown() { await action() }
    }
}
