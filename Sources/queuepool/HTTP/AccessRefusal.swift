// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings

// A server that wants a key and gets none, or one that it does not know or that may not do this, says the same however
// often it is asked.

extension ClientAnswer {
    /// What a command ends with that is not let in; `nil` if the answer says nothing of that kind.
    var accessFailure: CommandFailure? {
        let problem = Problem(of: self)
        if status == 401, let shown {
            return CommandFailure(
                "the server does not accept the token of \(shown): \(problem.summary)",
                status: ExitStatus.configuration)
        }
        if status == 401 {
            return CommandFailure(
                "the server wants a key, and none was given: --\(Setting.tokenFile.flag) FILE or "
                    + "\(Setting.token.environment) has its token (queuepool key create): \(problem.summary)",
                status: ExitStatus.configuration)
        }
        guard status == 403, problem.type?.hasSuffix(":access-denied") == true else { return nil }
        return CommandFailure(
            "\(problem.summary) The token is that of \(shown ?? "nobody").", status: ExitStatus.noPermission)
    }
}
