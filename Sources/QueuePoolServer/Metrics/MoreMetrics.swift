// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Series of the process that are not the server's, for its page: those of workers that run beside it.
package final class MoreMetrics: Sendable {
    /// Where the process puts them; like its log, there is one.
    package static let ofProcess = MoreMetrics()

    private let source = Mutex<(@Sendable () -> String)?>(nil)

    package init() {}

    /// - Parameter text: the series of now, in Prometheus' text format; none of them may have a name of the server's.
    package func set(_ text: @escaping @Sendable () -> String) { source.withLock { $0 = text } }

    func text() -> String { source.withLock { $0 }?() ?? "" }
}
