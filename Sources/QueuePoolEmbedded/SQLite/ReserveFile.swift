// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Room on the disk that is kept for what makes room: a file that holds nothing and is given up when a delete finds none.
final class ReserveFile: Sendable {
    private static let byteCountMax: Int64 = 16 << 20
    private let path: String
    private let isHeld: Mutex<Bool>

    init(path: String) {
        self.path = path
        var status = stat()
        isHeld = Mutex(stat(path, &status) == 0 && status.st_size > 0)
    }

    static func byteCount(for room: StoreRoom) -> Int64 { min(byteCountMax, room.total / 8) }

    /// Gives the room to others.
    func release() {
        isHeld.withLock { isHeld in
            guard isHeld else { return }
            isHeld = truncate(path, 0) != 0
        }
    }

    /// Takes room again, or none if there is not enough.
    func restore(_ byteCount: Int64) {
        isHeld.withLock { isHeld in
            guard !isHeld, byteCount > 0 else { return }
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, PrivateFile.mode)
            guard descriptor >= 0 else { return }
            defer { close(descriptor) }
            isHeld = posix_fallocate(descriptor, 0, Int(byteCount)) == 0
            if !isHeld { ftruncate(descriptor, 0) }
        }
    }
}
