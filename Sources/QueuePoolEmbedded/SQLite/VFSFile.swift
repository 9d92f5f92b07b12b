// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

/// A file of our own beside a SQLite file, written by the same VFS: it has the same owner and mode, its failures have
/// SQLite's codes, and what lies beneath the SQLite file lies beneath it too.
///
/// One thread at a time uses it.
final class VFSFile {
    /// SQLite's VFS for Unix takes no more than 128 KiB at a time, and says that the disk is full where there is more.
    private static let pieceBytes = 64 << 10

    private let methods: UnsafePointer<sqlite3_io_methods>
    private let file: UnsafeMutablePointer<sqlite3_file>
    private let memory: UnsafeMutableRawPointer
    /// The VFS keeps the pointer as long as the file is open.
    private let path: UnsafeMutablePointer<CChar>
    private var isOpen = true

    /// Opens a file, or makes it.
    /// - Parameters:
    ///   - path: the path of a SQLite file, `-`, and a word of letters and digits: the mode is taken from that file.
    ///   - vfs: the name of a registered VFS; the default one if `nil`.
    init(path: String, vfs: String?) throws(DatabaseError) {
        guard let found = sqlite3_vfs_find(vfs), let open = found.pointee.xOpen else {
            throw DatabaseError(code: SQLITE_CANTOPEN, operation: "find a VFS")
        }
        let bytes = Array(path.utf8CString)
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
        copy.initialize(repeating: 0, count: bytes.count + 1)
        for (index, byte) in bytes.enumerated() { copy[index] = byte }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Int(found.pointee.szOsFile), alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Int(found.pointee.szOsFile))
        let file = memory.assumingMemoryBound(to: sqlite3_file.self)
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL
        let code = open(found, copy, file, flags, nil)
        guard code == SQLITE_OK, let methods = file.pointee.pMethods else {
            memory.deallocate()
            copy.deallocate()
            throw DatabaseError(code: code == SQLITE_OK ? SQLITE_CANTOPEN : code, operation: "open a journal")
        }
        self.methods = methods
        self.file = file
        self.memory = memory
        self.path = copy
    }

    deinit { close() }

    func close() {
        guard isOpen else { return }
        isOpen = false
        _ = methods.pointee.xClose(file)
        memory.deallocate()
        path.deallocate()
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DatabaseError) {
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, VFSFile.pieceBytes)
            let start = bytes.baseAddress.map { $0 + done }
            try check(methods.pointee.xWrite(file, start, Int32(count), Int64(offset + done)), "write a journal")
            done += count
        }
    }

    /// Puts what was written on stable storage, and that the file is there when it is new.
    func flush() throws(DatabaseError) {
        try check(methods.pointee.xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY), "flush a journal")
    }

    /// Reads as many bytes as the file has there, up to a number.
    func read(at offset: Int, count: Int) throws(DatabaseError) -> [UInt8] {
        let count = max(0, min(count, try byteCount() - offset))
        guard count > 0 else { return [] }
        var failure: DatabaseError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while initialized < count, failure == nil {
                let piece = min(count - initialized, VFSFile.pieceBytes)
                let start = buffer.baseAddress.map { $0 + initialized }
                do throws(DatabaseError) {
                    try check(
                        methods.pointee.xRead(file, start, Int32(piece), Int64(offset + initialized)), "read a journal")
                    initialized += piece
                } catch { failure = error }
            }
        }
        if let failure { throw failure }
        return bytes
    }

    func byteCount() throws(DatabaseError) -> Int {
        var size: Int64 = 0
        try check(methods.pointee.xFileSize(file, &size), "measure a journal")
        return Int(size)
    }

    func truncate() throws(DatabaseError) { try check(methods.pointee.xTruncate(file, 0), "cut a journal") }

    /// Removes a file that nobody has open. It may be there again after a loss of power.
    static func remove(path: String, vfs: String?) {
        guard let found = sqlite3_vfs_find(vfs) else { return }
        _ = found.pointee.xDelete?(found, path, 0)
    }

    private func check(_ code: Int32, _ operation: String) throws(DatabaseError) {
        guard code == SQLITE_OK else { throw DatabaseError(code: code, operation: operation) }
    }
}
