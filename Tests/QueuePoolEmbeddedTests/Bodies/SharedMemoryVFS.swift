// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import Glibc
import Synchronization

/// Gives the files of a faulty disk what two connections to one file in WAL mode need beside it: shared memory. It comes
/// from a second, ordinary handle for the same file, so all that is written and flushed still goes over the faulty disk.
enum SharedMemoryVFS {
    private typealias File = UnsafeMutablePointer<sqlite3_file>

    /// What stands beside the faulty handles, by their addresses.
    private static let beside = Mutex<[UInt: UInt]>([:])
    private static let names = Mutex<Set<String>>([])
    private static let prefix = "shared-"

    /// Registers a VFS over the one of this name, for as long as the process lives.
    /// - Returns: its name.
    static func over(_ faulty: String) -> String? {
        let name = prefix + faulty
        guard names.withLock({ $0.insert(name).inserted }) else { return name }
        guard let below = sqlite3_vfs_find(faulty) else { return nil }
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        vfs.initialize(to: below.pointee)
        vfs.pointee.zName = UnsafePointer(strdup(name))
        vfs.pointee.pNext = nil
        vfs.pointee.xOpen = { vfs, path, file, flags, out in
            guard let vfs, let file, let name = vfs.pointee.zName,
                let below = sqlite3_vfs_find(name + SharedMemoryVFS.prefix.utf8.count)
            else { return SQLITE_MISUSE }
            let code = below.pointee.xOpen(below, path, file, flags, out)
            guard code == SQLITE_OK, flags & SQLITE_OPEN_MAIN_DB != 0 else { return code }
            return SharedMemoryVFS.add(to: file, path, flags)
        }
        return sqlite3_vfs_register(vfs, 0) == SQLITE_OK ? name : nil
    }

    private static func add(to file: File, _ path: UnsafePointer<CChar>?, _ flags: Int32) -> Int32 {
        guard let system = sqlite3_vfs_find(nil), let below = file.pointee.pMethods else { return SQLITE_MISUSE }
        let raw = UnsafeMutableRawPointer.allocate(byteCount: Int(system.pointee.szOsFile), alignment: 16)
        raw.initializeMemory(as: UInt8.self, repeating: 0, count: Int(system.pointee.szOsFile))
        let other = raw.assumingMemoryBound(to: sqlite3_file.self)
        let code = system.pointee.xOpen(system, path, other, flags, nil)
        guard code == SQLITE_OK else { return code }
        beside.withLock { $0[UInt(bitPattern: file)] = UInt(bitPattern: other) }
        // One table for each handle: tests open few.
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        methods.initialize(to: below.pointee)
        methods.pointee.iVersion = 2
        methods.pointee.xShmMap = { file, page, size, extend, out in
            guard let other = SharedMemoryVFS.other(file) else { return SQLITE_MISUSE }
            return other.pointee.pMethods.pointee.xShmMap(other, page, size, extend, out)
        }
        methods.pointee.xShmLock = { file, offset, count, flags in
            guard let other = SharedMemoryVFS.other(file) else { return SQLITE_MISUSE }
            return other.pointee.pMethods.pointee.xShmLock(other, offset, count, flags)
        }
        methods.pointee.xShmBarrier = { file in
            guard let other = SharedMemoryVFS.other(file) else { return }
            other.pointee.pMethods.pointee.xShmBarrier(other)
        }
        methods.pointee.xShmUnmap = { file, deletes in
            guard let other = SharedMemoryVFS.other(file) else { return SQLITE_MISUSE }
            return other.pointee.pMethods.pointee.xShmUnmap(other, deletes)
        }
        methods.pointee.xClose = { file in
            guard let file, let other = SharedMemoryVFS.other(file) else { return SQLITE_MISUSE }
            SharedMemoryVFS.beside.withLock { $0[UInt(bitPattern: file)] = nil }
            _ = other.pointee.pMethods.pointee.xClose(other)
            UnsafeMutableRawPointer(other).deallocate()
            return SharedMemoryVFS.closeFaulty(file)
        }
        file.pointee.pMethods = UnsafePointer(methods)
        faultyClose.withLock { $0 = below.pointee.xClose }
        return SQLITE_OK
    }

    /// How a faulty handle is closed; the same for all of them.
    private static let faultyClose = Mutex<(@convention(c) (File?) -> Int32)?>(nil)

    private static func closeFaulty(_ file: File) -> Int32 {
        let close = faultyClose.withLock { $0 }
        return close?(file) ?? SQLITE_MISUSE
    }

    private static func other(_ file: File?) -> File? {
        let address = beside.withLock { $0[UInt(bitPattern: file)] }
        return address.flatMap { File(bitPattern: $0) }
    }
}
