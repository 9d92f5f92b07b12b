// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

extension Pool {
    /// Where a body lies that a message of this pool points to; `nil` if that is no place of ours.
    package func bodyStore(holding pointer: BodyPointer) -> (any BodyStore)? {
        bodyOptions?.place(snapshot.definition, pointer)
    }

    /// Whether messages of this pool may come with pointers to bodies outside of its server.
    package var mayHaveRemoteBodies: Bool { bodyOptions != nil && snapshot.definition.backend == .sqs }
}
