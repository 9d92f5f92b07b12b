// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
package import QueuePoolCore
import Synchronization

// Each store has a data key of its own, made with the store and kept for as long as it lives. The data keys lie in one file
// of the data directory, wrapped by the master key. Not in the control store, which may be a table that other servers
// share, or a file elsewhere: whoever copies the directory has the keys of what is in it, and whoever copies it without
// the master key has nothing.

/// Why the data keys of a directory cannot be used.
package enum DataKeysError: Error, Hashable, Sendable {
    /// Another master key wrapped them.
    case wrongKey(sealedBy: String)
    /// The file is no file of data keys, or was changed.
    case damaged
    /// The file cannot be read or written; the number is the system's.
    case system(code: Int32)
    /// The file was written anew, and a loss of power may bring the one before back: its master key is to be kept, too.
    case unflushed(code: Int32)
}

/// The data keys of a directory, open.
package final class DataKeys: StoreKeys {
    /// The file's name in the data directory.
    package static let fileName = "keys.json"
    private static let version = 1

    private struct StoreKey {
        let key: SymmetricKey
        /// The store was there before its key.
        let mayHavePlainRows: Bool
    }

    private struct Keys {
        var master: MasterKey
        var stores: [String: StoreKey]
    }

    private struct File: Codable {
        struct Store: Codable {
            var wrapped: Data
            var mayHavePlainRows: Bool
        }

        var version: Int
        var masterKey: String
        var stores: [String: Store]
    }

    private let path: String
    private let keys: Mutex<Keys>

    /// Reads the data keys of a directory; it has none yet if the file is missing.
    /// - Parameter old: what wrapped them, if `master` is to take its place: they are wrapped anew before this returns.
    /// - Throws: `DataKeysError`; then the file is as it was.
    package init(directory: String, master: MasterKey, old: MasterKey? = nil) throws(DataKeysError) {
        path = directory + "/" + DataKeys.fileName
        guard let file = try DataKeys.read(path) else {
            keys = Mutex(Keys(master: master, stores: [:]))
            return
        }
        guard let fitting = [master, old].compactMap(\.self).first(where: { $0.id == file.masterKey }) else {
            throw .wrongKey(sealedBy: file.masterKey)
        }
        var stores: [String: StoreKey] = [:]
        for (name, store) in file.stores {
            let purpose = DataKeys.purpose(name, store.mayHavePlainRows)
            guard let key = fitting.unwrap(Array(store.wrapped), for: purpose) else { throw .damaged }
            stores[name] = StoreKey(key: key, mayHavePlainRows: store.mayHavePlainRows)
        }
        keys = Mutex(Keys(master: master, stores: stores))
        if fitting.id != master.id { try DataKeys.write(Keys(master: master, stores: stores), path) }
    }

    /// The id of the master key that a directory is sealed with; `nil` if it is not.
    package static func masterKeyID(of directory: String) throws(DataKeysError) -> String? {
        try read(directory + "/" + fileName)?.masterKey
    }

    /// The id of the master key that wraps them now.
    package var masterKeyID: String { keys.withLock { $0.master.id } }

    /// Wraps the data keys with another master key; on stable storage when this returns. No row is written again.
    /// - Throws: `DataKeysError`; then they are wrapped as before, unless it is `unflushed`.
    package func rewrap(with master: MasterKey) throws(DataKeysError) {
        try keys.withLock { (keys) throws(DataKeysError) in
            guard master.id != keys.master.id else { return }
            var changed = keys
            changed.master = master
            do throws(DataKeysError) { try DataKeys.write(changed, path) } catch {
                // What is written next must not turn the file back without a word.
                if case .unflushed = error { keys = changed }
                throw error
            }
            keys = changed
        }
    }

    package func sealing(of file: String, exists: Bool) throws(StoreKeysFault) -> StoreSealing {
        let store = try keys.withLock { (keys) throws(StoreKeysFault) in
            if let known = keys.stores[file] { return known }
            let made = StoreKey(key: SymmetricKey(size: .bits256), mayHavePlainRows: exists)
            var changed = keys
            changed.stores[file] = made
            do throws(DataKeysError) { try DataKeys.write(changed, path) } catch { throw StoreKeysFault() }
            keys = changed
            return made
        }
        return StoreSealing(rows: RowSealer(dataKey: store.key), mayHavePlainRows: store.mayHavePlainRows)
    }

    // MARK: - The file

    private static func purpose(_ name: String, _ mayHavePlainRows: Bool) -> String {
        // What the file says of plain rows must be what was said when the key was made, or rows that somebody put into a
        // store would be taken for older ones.
        "\(name)\n\(mayHavePlainRows ? "older than its key" : "made sealed")"
    }

    private static func read(_ path: String) throws(DataKeysError) -> File? {
        let bytes: [UInt8]
        do throws(SystemFailure) {
            guard let found = try WholeFile.read(path) else { return nil }
            bytes = found
        } catch { throw .system(code: error.code) }
        guard let file = try? JSONDecoder().decode(File.self, from: Data(bytes)), file.version == version else {
            throw .damaged
        }
        return file
    }

    private static func write(_ keys: Keys, _ path: String) throws(DataKeysError) {
        var file = File(version: version, masterKey: keys.master.id, stores: [:])
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let bytes: [UInt8]
        do {
            for (name, store) in keys.stores {
                let wrapped = try keys.master.wrap(store.key, for: purpose(name, store.mayHavePlainRows))
                file.stores[name] = File.Store(wrapped: Data(wrapped), mayHavePlainRows: store.mayHavePlainRows)
            }
            bytes = Array(try encoder.encode(file)) + [UInt8(ascii: "\n")]
        } catch { throw .damaged }
        do throws(SystemFailure) { try WholeFile.replace(path, with: bytes) } catch {
            throw error.isReplaced ? .unflushed(code: error.code) : .system(code: error.code)
        }
    }
}
