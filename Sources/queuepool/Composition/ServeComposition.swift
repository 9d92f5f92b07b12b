// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings

/// Runs the server until it is told to stop.
func runServe(_ settings: ServeSettings) async throws {
    throw CommandFailure("serve is not part of this build", status: ExitStatus.unavailable)
}
