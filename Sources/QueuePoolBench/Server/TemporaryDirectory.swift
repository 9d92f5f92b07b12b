// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A directory of the run's own, removed with everything in it.
struct TemporaryDirectory {
    let path: String

    /// - Parameter parent: where it is made; `nil` = `TMPDIR` or `/tmp`.
    init(in parent: String?) throws {
        let base = parent ?? getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((base + "/queuepool-bench.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw SocketError(call: "mkdtemp", code: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Removes it, following no links.
    func remove() { TemporaryDirectory.removeTree(path) }

    private static func removeTree(_ path: String) {
        guard let stream = opendir(path) else { return }
        while let entry = readdir(stream) {
            let isDirectory = Int32(entry.pointee.d_type) == Int32(DT_DIR)
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            if isDirectory { removeTree(path + "/" + name) } else { unlink(path + "/" + name) }
        }
        closedir(stream)
        rmdir(path)
    }
}
