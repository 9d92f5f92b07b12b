// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings

/// Runs a worker until it is told to stop.
func runWork(_ settings: WorkSettings) async throws {
    throw CommandFailure("work is not part of this build", status: ExitStatus.unavailable)
}
