// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolSealing
import QueuePoolSettings
import ServiceLifecycle
import UnixSignals

/// The master key's files, which may be read again, and the data keys of the data directory.
struct MasterKeyFiles: Sendable {
    private static let bytesMax = 4_096

    private let settings: SealingSettings
    private let directory: String

    init(_ settings: SealingSettings, directory: String) {
        self.settings = settings
        self.directory = directory
    }

    /// Whether a file may bring another key while the server runs.
    var mayChange: Bool {
        if case .file = settings.master { return true }
        return false
    }

    /// Opens the data keys; no other server may use the directory.
    /// - Throws: `CommandFailure` that shows nothing of a key; then nothing was changed.
    func open() throws -> DataKeys {
        let master = try master()
        let old = try settings.old.map { try key(in: $0, of: .oldMasterKeyFile) }
        do throws(DataKeysError) {
            return try DataKeys(directory: directory, master: master, old: old)
        } catch { throw MasterKeyFiles.failure(error, directory, name) }
    }

    /// Wraps the data keys with the key that the file has now.
    /// - Throws: as `open()` does; the data keys are then wrapped as before.
    func reload(_ keys: DataKeys) throws {
        let master = try master()
        do throws(DataKeysError) { try keys.rewrap(with: master) } catch {
            throw MasterKeyFiles.failure(error, directory, name)
        }
    }

    /// Refuses a directory that needs a master key, where none is given.
    static func refuseSealed(_ directory: String) throws {
        let id: String?
        do throws(DataKeysError) { id = try DataKeys.masterKeyID(of: directory) } catch {
            throw failure(error, directory, "")
        }
        guard let id else { return }
        throw CommandFailure(
            "the messages in \(printable(directory)) are sealed: --\(Setting.masterKeyFile.flag) must give the master key "
                + id, status: ExitStatus.configuration)
    }

    // MARK: - Reading

    private var name: String {
        switch settings.master {
        case .file(let path): MasterKeyFiles.printable(path)
        case .text: "of \(Setting.masterKey.environment)"
        }
    }

    private func master() throws -> MasterKey {
        switch settings.master {
        case .file(let path): return try key(in: path, of: .masterKeyFile)
        case .text(let hidden):
            guard let key = MasterKey(text: hidden.text) else {
                throw CommandFailure(
                    "setting '\(Setting.masterKey.key)' (environment \(Setting.masterKey.environment)) is no key; allowed: "
                        + Setting.masterKey.allowed, status: ExitStatus.configuration)
            }
            return key
        }
    }

    private func key(in path: String, of setting: Setting) throws -> MasterKey {
        let file = SecretFile(setting: setting, path: path)
        guard let key = MasterKey(text: try file.read(bytesMax: MasterKeyFiles.bytesMax)) else {
            throw file.wrong("has no key")
        }
        return key
    }

    private static func failure(_ error: DataKeysError, _ directory: String, _ name: String) -> CommandFailure {
        let directory = printable(directory)
        switch error {
        case .wrongKey(let id):
            return CommandFailure(
                "the master key \(name) does not open the data keys of \(directory): it was \(printable(id)) that sealed "
                    + "them", status: ExitStatus.configuration)
        case .damaged:
            return CommandFailure(
                "the data keys in \(directory)/\(DataKeys.fileName) are damaged: put back a copy of the file",
                status: ExitStatus.configuration)
        case .system(let code):
            return CommandFailure(
                "the data keys in \(directory)/\(DataKeys.fileName) cannot be read or written: \(systemMessage(code))",
                status: ExitStatus.inputOutput)
        case .unflushed(let code):
            return CommandFailure(
                "the data keys in \(directory)/\(DataKeys.fileName) were written anew, and a loss of power may bring back "
                    + "what was there before (\(systemMessage(code))): keep both master keys, and start with the old one "
                    + "as --\(Setting.oldMasterKeyFile.flag)", status: ExitStatus.inputOutput)
        }
    }

    private static func printable(_ text: String) -> String { SettingError.printable(text, scalarsMax: 1_024) }
}

/// Reads the master key again at each SIGHUP, for as long as the server runs.
struct MasterKeyReload: Service {
    private let files: MasterKeyFiles
    private let keys: DataKeys
    private let signals: UnixSignalsSequence
    private let logger: Logger

    /// From here on SIGHUP does not end the process.
    init(files: MasterKeyFiles, keys: DataKeys, logger: Logger) async {
        self.files = files
        self.keys = keys
        self.logger = logger
        signals = await UnixSignalsSequence(trapping: .sighup)
    }

    func run() async throws {
        for await _ in signals.cancelOnGracefulShutdown() {
            do {
                // It waits for the disk.
                try await onOwnThread { [files, keys] in try files.reload(keys) }
                logger.notice("The data keys are wrapped by the master key", metadata: ["key": "\(keys.masterKeyID)"])
            } catch {
                logger.error("The data keys stay wrapped as before", metadata: ["error": "\(error)"])
            }
        }
    }
}
