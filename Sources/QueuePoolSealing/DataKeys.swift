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
    /// Whoever has the master key, or the old one, did not wrap or open them.
    case masterKey(KeyWrappingFault, isOld: Bool)
}

/// The data keys of a directory, open.
package final class DataKeys: StoreKeys {
    /// The file's name in the data directory.
    package static let fileName = "keys.json"
    private static let version = 1

    private static let keyBytes = 32

    private struct StoreKey {
        let key: SymmetricKey
        /// By the master key of now: it is not asked again whenever the file is written.
        var wrapped: [UInt8]
        /// The store was there before its key.
        let mayHavePlainRows: Bool
    }

    private struct Keys {
        var master: any KeyWrapping
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
    private let report: @Sendable (DataKeysError) -> Void

    /// Reads the data keys of a directory; it has none yet if the file is missing.
    /// - Parameters:
    ///   - old: what wrapped them, if `master` is to take its place: they are wrapped anew before this returns.
    ///   - report: gets why a new store has no key.
    /// - Throws: `DataKeysError`; then the file is as it was.
    package init(
        directory: String, master: any KeyWrapping, old: (any KeyUnwrapping)? = nil,
        report: @escaping @Sendable (DataKeysError) -> Void = { _ in }
    ) throws(DataKeysError) {
        self.report = report
        path = directory + "/" + DataKeys.fileName
        guard let file = try DataKeys.read(path) else {
            keys = Mutex(Keys(master: master, stores: [:]))
            return
        }
        let isOld = !master.fits(file.masterKey)
        let candidate: (any KeyUnwrapping)? = isOld ? old : master
        guard let fitting = candidate, fitting.fits(file.masterKey) else { throw .wrongKey(sealedBy: file.masterKey) }
        var stores: [String: StoreKey] = [:]
        for (name, store) in file.stores {
            let purpose = KeyPurpose(file: name, mayHavePlainRows: store.mayHavePlainRows)
            let bytes: [UInt8]
            do throws(KeyWrappingFault) { bytes = try fitting.unwrap(Array(store.wrapped), for: purpose) } catch {
                switch error {
                case .otherKey where isOld: throw .wrongKey(sealedBy: file.masterKey)
                // The file says that this key wrapped it.
                case .otherKey, .notOpened: throw .damaged
                case .refused, .unavailable: throw .masterKey(error, isOld: isOld)
                }
            }
            guard bytes.count == DataKeys.keyBytes else { throw .damaged }
            stores[name] = StoreKey(
                key: SymmetricKey(data: bytes), wrapped: Array(store.wrapped), mayHavePlainRows: store.mayHavePlainRows)
        }
        var opened = Keys(master: master, stores: stores)
        if isOld {
            try DataKeys.wrap(&opened)
            try DataKeys.write(opened, path)
        }
        keys = Mutex(opened)
    }

    /// The id of the master key that a directory is sealed with; `nil` if it is not.
    package static func masterKeyID(of directory: String) throws(DataKeysError) -> String? {
        try read(directory + "/" + fileName)?.masterKey
    }

    /// The id of the master key that wraps them now.
    package var masterKeyID: String { keys.withLock { $0.master.id } }

    /// Wraps the data keys with another master key; on stable storage when this returns. No row is written again.
    /// - Throws: `DataKeysError`; then they are wrapped as before, unless it is `unflushed`.
    package func rewrap(with master: any KeyWrapping) throws(DataKeysError) {
        try keys.withLock { (keys) throws(DataKeysError) in
            guard master.id != keys.master.id else { return }
            var changed = keys
            changed.master = master
            try DataKeys.wrap(&changed)
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
            do throws(DataKeysError) {
                let made = try DataKeys.make(KeyPurpose(file: file, mayHavePlainRows: exists), keys.master)
                var changed = keys
                changed.stores[file] = made
                try DataKeys.write(changed, path)
                keys = changed
                return made
            } catch {
                report(error)
                throw StoreKeysFault()
            }
        }
        return StoreSealing(rows: RowSealer(dataKey: store.key), mayHavePlainRows: store.mayHavePlainRows)
    }

    // MARK: - Wrapping

    private static func make(_ purpose: KeyPurpose, _ master: any KeyWrapping) throws(DataKeysError) -> StoreKey {
        let key = SymmetricKey(size: .bits256)
        return StoreKey(
            key: key, wrapped: try wrap(key, purpose, master), mayHavePlainRows: purpose.mayHavePlainRows)
    }

    /// Wraps all with the master key that is there now.
    private static func wrap(_ keys: inout Keys) throws(DataKeysError) {
        for (name, store) in keys.stores {
            let purpose = KeyPurpose(file: name, mayHavePlainRows: store.mayHavePlainRows)
            keys.stores[name]?.wrapped = try wrap(store.key, purpose, keys.master)
        }
    }

    private static func wrap(
        _ key: SymmetricKey, _ purpose: KeyPurpose, _ master: any KeyWrapping
    ) throws(DataKeysError) -> [UInt8] {
        do throws(KeyWrappingFault) {
            return try master.wrap(key.withUnsafeBytes { Array($0) }, for: purpose)
        } catch { throw .masterKey(error, isOld: false) }
    }

    // MARK: - The file

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
        let stores = keys.stores.mapValues {
            File.Store(wrapped: Data($0.wrapped), mayHavePlainRows: $0.mayHavePlainRows)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let text = try? encoder.encode(File(version: version, masterKey: keys.master.id, stores: stores)) else {
            throw .damaged
        }
        do throws(SystemFailure) { try WholeFile.replace(path, with: Array(text) + [UInt8(ascii: "\n")]) } catch {
            throw error.isReplaced ? .unflushed(code: error.code) : .system(code: error.code)
        }
    }
}
