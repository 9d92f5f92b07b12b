// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What tells a file from every other one, whatever its path is.
struct FileMark: Hashable {
    let device: UInt64
    let number: UInt64
}

/// Calls to the file system that SQLite does not make for us.
enum SystemFile {
    /// Puts on stable storage which files a directory has.
    static func flushDirectory(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return fsync(descriptor) == 0
    }

    /// Which file is at a path; `nil` if there is none.
    static func mark(of path: String) -> FileMark? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return FileMark(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
    }

    /// How long a file is; `nil` if there is none.
    static func byteCount(of path: String) -> Int64? {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : nil
    }

    /// Bytes that may still be written on the file system of a path, and how many it has in all.
    static func room(at path: String) -> (free: Int64, total: Int64)? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        let unit = UInt64(status.f_frsize)
        return (
            Int64(clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: unit).partialValue),
            Int64(clamping: UInt64(status.f_blocks).multipliedReportingOverflow(by: unit).partialValue)
        )
    }

    /// The largest size of a file that this process may write.
    static var fileBytesMax: Int64 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0 else { return .max }
        return Int64(clamping: limit.rlim_cur)
    }

    /// The names in a directory; `nil` if it cannot be read.
    static func names(in directory: String) -> [String]? {
        guard let stream = opendir(directory) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let capacity = MemoryLayout.size(ofValue: entry.pointee.d_name)
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: capacity) { String(cString: $0) }
            }
            names.append(name)
        }
        return names
    }
}
