// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The HTTP client of the commands.
func makeHTTPClient() throws -> any HTTPClient {
    throw CommandFailure("HTTP is not part of this build", status: ExitStatus.unavailable)
}
